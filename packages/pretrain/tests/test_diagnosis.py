from bunbuku_pretrain.diagnosis import Facts, cause, is_odd

ODD = Facts(
    validation=2.0,
    training=2.5,
    as_training=2.45,
    as_validation=2.45,
    common=0,
    documents=90,
    training_length=64,
    validation_length=64,
)


def test_two_losses_that_are_not_the_same_are_told_first() -> None:
    told = cause(ODD._replace(as_training=2.6, common=90))
    assert told is not None
    assert "one batch has 2.6 as training and 2.45 as validation" in told


def test_held_out_text_that_was_trained_on_is_counted() -> None:
    told = cause(ODD._replace(common=81))
    assert told is not None
    assert told.startswith("the validation loss 2 is below the training loss 2.5: 81 of 90 held-out documents are in")


def test_a_model_that_has_just_improved_is_no_reason_to_worry() -> None:
    assert cause(ODD._replace(as_training=2.02, as_validation=2.02)) is None


def test_sequences_of_another_length_are_a_cause_before_easier_text_is() -> None:
    assert "sequences of 32 tokens and validation of 64" in str(cause(ODD._replace(training_length=32)))
    assert "the held-out text is easier" in str(cause(ODD))


def test_nothing_is_looked_for_while_validation_is_not_clearly_below() -> None:
    assert not is_odd(2.5, [2.5, 2.4, 2.6])
    assert not is_odd(1.0, [])
    assert is_odd(2.0, [9.0, 2.5, 2.4, 2.6, 2.5, 2.5])
