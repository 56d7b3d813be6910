#!/usr/bin/env bash
# The pipeline of tiny.sh on your own documents: JSON Lines whose fields runs/small/gather.toml names, or what you change it to.
#   uv run runs/small.sh SOURCE [--out DIR] [--configs DIR]     (SOURCE: a file or folder; "" where gather.toml names a data set)
set -euo pipefail
here=$(dirname "$0"); c=$here/small; o=runs/out/small
[[ $# -gt 0 && $1 != -* ]] || { sed -n '2,3s/^# *//p' "$0"; [[ ${1:-} == --help || ${1:-} == -h ]]; exit; }
source=$1; shift
while (($#)); do case $1 in
    --out) o=${2:?} ;; --configs) c=${2:?} ;; *) echo "unknown option $1; try --help" >&2; exit 2 ;; esac; shift 2
done
mkdir -p "$o"
teacher=$(python "$here/fetch.py" teacher)

bunbuku-corpus      gather     "$c/gather.toml"     ${source:+--source "$source"} --out "$o/raw"
bunbuku-corpus      clean      "$c/clean.toml"      --corpus "$o/raw" --out "$o/clean"
bunbuku-corpus      dedup      "$c/dedup.toml"      --corpus "$o/clean" --out "$o/unique"
bunbuku-corpus      split      "$c/split.toml"      --corpus "$o/unique" --out "$o/corpus"

bunbuku-tokenizer   train      "$c/tokenizer.toml"  --corpus "$o/corpus#train" --out "$o/tokenizer"
bunbuku-tokenizer   measure    --tokenizer "$o/tokenizer" --corpus "$o/corpus#validation" --out "$o/compression"

bunbuku-synth       generate   "$c/generate.toml"   --corpus "$o/corpus#train" --teacher-file "$teacher" --out "$o/dialogues"
bunbuku-synth       generate   "$c/exam.toml"       --corpus "$o/corpus#test" --out "$o/exam"

bunbuku-pretrain    tokenize   "$c/tokenize.toml"   --corpus "$o/corpus" --tokenizer "$o/tokenizer" --out "$o/tokens"
bunbuku-pretrain    train      "$c/pretrain.toml"   --run "$c/laptop.toml" --tokens "$o/tokens" --tokenizer "$o/tokenizer" --out "$o/dense-trained"
bunbuku-pretrain    export     --checkpoint "$o/dense-trained" --tokenizer "$o/tokenizer" --out "$o/dense"

bunbuku-moe-upcycle upcycle    "$c/upcycle.toml"    --checkpoint "$o/dense" --out "$o/upcycled"
bunbuku-pretrain    train      "$c/continue.toml"   --run "$c/laptop.toml" --tokens "$o/tokens" --tokenizer "$o/tokenizer" --start "$o/upcycled" --out "$o/moe-trained"
bunbuku-pretrain    export     --checkpoint "$o/moe-trained" --tokenizer "$o/tokenizer" --out "$o/moe"
bunbuku-moe-upcycle similarity "$c/similarity.toml" --checkpoints upcycled="$o/upcycled" --checkpoints trained="$o/moe" --out "$o/similarity"

bunbuku-align       sft        "$c/sft.toml"        --checkpoint "$o/moe" --dialogues "$o/dialogues" --out "$o/moe-sft-adapter"
bunbuku-align       merge      --checkpoint "$o/moe" --adapter "$o/moe-sft-adapter" --out "$o/moe-sft"
bunbuku-synth       prefer     "$c/prefer.toml"     --dialogues "$o/dialogues" --model "$o/moe-sft" --out "$o/preferences"
bunbuku-align       dpo        "$c/dpo.toml"        --checkpoint "$o/moe-sft" --preferences "$o/preferences" --out "$o/moe-dpo-adapter"
bunbuku-align       merge      --checkpoint "$o/moe-sft" --adapter "$o/moe-dpo-adapter" --out "$o/moe-chat"

models=(); for m in dense upcycled moe moe-sft moe-chat; do models+=(--checkpoints "$m=$o/$m"); done
stages=(); for m in "$o"/dense-trained@* "$o"/moe-trained@*; do [[ ! -d $m ]] || stages+=(--checkpoints "$(basename "${m/-trained/}")=$m"); done
bunbuku-eval        baseline   "$c/baseline.toml"   --tokens "$o/tokens" --tokenizer "$o/tokenizer" --corpus "$o/corpus#validation" --out "$o/bigram"
bunbuku-eval        perplexity "$c/perplexity.toml" "${stages[@]}" "${models[@]}" --corpus "$o/corpus#validation" --out "$o/perplexity"
bunbuku-eval        choice     "$c/choice.toml"     "${stages[@]}" "${models[@]}" --items "$o/exam" --out "$o/choice"
bunbuku-eval        generate   "$c/samples.toml"    "${stages[@]}" "${models[@]}" --out "$o/samples"
bunbuku-eval        leaderboard --reports perplexity="$o/perplexity" --reports choice="$o/choice" --out "$o/leaderboard" >/dev/null
reports=(); for r in clean unique compression bigram perplexity choice samples similarity; do reports+=(--reports "$r=$o/$r"); done
bunbuku-eval        report     "$c/report.toml"     "${reports[@]}" "${models[@]}" --out "$o/report" >/dev/null

bunbuku tree "$o/report"
echo "leaderboard: $o/leaderboard/index.html"
echo "report: $o/report/index.html"
