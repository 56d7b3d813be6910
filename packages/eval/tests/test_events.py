"""Curves out of event files: as they were written, also after a crash."""

from bunbuku_eval.events import read_scalars


def test_scalars_come_back_by_tag_in_the_order_of_steps(make, tmp_path) -> None:
    make.write_events(tmp_path / "tensorboard", {"train/loss": [(2, 1.5), (1, 2.5)], "lr": [(1, 0.25)]})
    assert read_scalars(tmp_path) == {"lr": ((1.0, 0.25),), "train/loss": ((1.0, 2.5), (2.0, 1.5))}


def test_a_step_written_twice_counts_once_as_it_was_written_last(make, tmp_path) -> None:
    make.write_events(tmp_path, {"loss": [(1, 4.0), (2, 3.0), (2, 2.0)]})
    assert read_scalars(tmp_path)["loss"] == ((1.0, 4.0), (2.0, 2.0))


def test_a_file_cut_off_in_the_middle_gives_what_it_has(make, tmp_path) -> None:
    make.write_events(tmp_path, {"loss": [(step, float(step)) for step in range(1, 6)]})
    (path,) = tmp_path.glob("events.out.tfevents.*")
    path.write_bytes(path.read_bytes()[:-7])
    assert read_scalars(tmp_path)["loss"] == tuple((float(step), float(step)) for step in range(1, 5))


def test_a_folder_without_events_has_no_curves(tmp_path) -> None:
    assert read_scalars(tmp_path / "log") == {}
