#!/usr/bin/env bash
# Branch-Train-Merge (Li et al. 2022, arXiv:2208.03306): a model goes on in each domain by itself, the branches are combined in
# several ways, and all are compared with each other and with one model that went on with everything.
#   uv run runs/branches.sh [--from DIR] [--base NAME] [--recipe DIR] [--configs DIR] [--out DIR]
# DIR of --from is what runs/tiny.sh made, --recipe its configs. A domain is a file of filters, a method one for `combine`.
set -euo pipefail
here=$(dirname "$0"); c=$here/branches; r=$here/tiny; f=runs/out/tiny; o=runs/out/branches; b=dense
while (($#)); do case $1 in
    --from) f=${2:?} ;; --base) b=${2:?} ;; --recipe) r=${2:?} ;; --configs) c=${2:?} ;; --out) o=${2:?} ;;
    *) sed -n '2,5s/^# *//p' "$0"; [[ $1 == --help || $1 == -h ]]; exit ;; esac; shift 2
done
mkdir -p "$o"
t=$f/tokenizer; base=$f/$b; models=(); compared=(--checkpoints base="$base")

go_on() { # name, config, tokens
    bunbuku-pretrain train  "$2" --run "$r/laptop.toml" --tokens "$3" --tokenizer "$t" --start "$base" --out "$o/$1-trained"
    bunbuku-pretrain export --checkpoint "$o/$1-trained" --tokenizer "$t" --out "$o/$1"
    compared+=(--checkpoints "$1=$o/$1")
}

for d in "$c"/domains/*.toml; do
    n=$(basename "$d" .toml)
    bunbuku-corpus   clean    "$d"               --corpus "$f/unique" --out "$o/$n-documents"
    bunbuku-corpus   split    "$r/split.toml"    --corpus "$o/$n-documents" --out "$o/$n-corpus"
    bunbuku-pretrain tokenize "$r/tokenize.toml" --corpus "$o/$n-corpus" --tokenizer "$t" --out "$o/$n-tokens"
    go_on "$n" "$c/branch.toml" "$o/$n-tokens"
    models+=(--models "$n=$o/$n")
done
go_on whole "$c/whole.toml" "$f/tokens"

for m in "$c"/methods/*.toml; do
    n=$(basename "$m" .toml); delta=(--base "$base")
    grep -Eq '"(linear|slerp)"' "$m" && delta=()
    bunbuku-align combine "$m" "${models[@]}" "${delta[@]}" --out "$o/$n"
    compared+=(--checkpoints "$n=$o/$n")
done

bunbuku-eval perplexity "$c/perplexity.toml" "${compared[@]}" --corpus "$f/corpus#validation" --out "$o/perplexity"
bunbuku-eval report --reports perplexity="$o/perplexity" "${compared[@]}" --out "$o/report" >/dev/null
echo "report: $o/report/index.html"
