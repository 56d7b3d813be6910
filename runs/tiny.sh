#!/usr/bin/env bash
# From Japanese sentences to a small aligned, evaluated mixture of experts: a line a stage. Run it again: nothing to do.
#   uv run runs/tiny.sh [--out DIR] [--configs DIR] [--sentences FILE] [--teacher FILE]     (the files replace the two downloads)
set -euo pipefail
here=$(dirname "$0"); c=$here/tiny; o=runs/out/tiny; sentences=; teacher=
while (($#)); do case $1 in
    --out) o=${2:?} ;; --configs) c=${2:?} ;; --sentences) sentences=${2:?} ;; --teacher) teacher=${2:?} ;;
    *) sed -n '2,3s/^# *//p' "$0"; [[ $1 == --help || $1 == -h ]]; exit ;; esac; shift 2
done
mkdir -p "$o"
sentences=$(python "$here/fetch.py" sentences ${sentences:+--file "$sentences"})
teacher=$(python "$here/fetch.py" teacher ${teacher:+--file "$teacher"})

bunbuku-corpus      gather     "$c/gather.toml"     --source "$sentences" --out "$o/raw"
bunbuku-corpus      clean      "$c/clean.toml"      --corpus "$o/raw" --out "$o/clean"
bunbuku-corpus      dedup      "$c/dedup.toml"      --corpus "$o/clean" --out "$o/unique"
bunbuku-corpus      split      "$c/split.toml"      --corpus "$o/unique" --out "$o/corpus"

bunbuku-tokenizer   train      "$c/tokenizer.toml"  --corpus "$o/corpus#train" --out "$o/tokenizer"
bunbuku-tokenizer   measure    --tokenizer "$o/tokenizer" --corpus "$o/corpus#validation" --out "$o/compression"

bunbuku-synth       generate   "$c/generate.toml"   --run "$c/teacher.toml" --corpus "$o/corpus#train" --parallel "$o/raw#parallel" --teacher-file "$teacher" --out "$o/dialogues"
bunbuku-synth       generate   "$c/exam.toml"       --corpus "$o/corpus#test" --parallel "$o/raw#parallel" --out "$o/exam"

bunbuku-pretrain    tokenize   "$c/tokenize.toml"   --corpus "$o/corpus" --tokenizer "$o/tokenizer" --out "$o/tokens"
bunbuku-pretrain    train      "$c/pretrain.toml"   --run "$c/laptop.toml" --tokens "$o/tokens" --tokenizer "$o/tokenizer" --out "$o/dense-trained"
bunbuku-pretrain    export     --checkpoint "$o/dense-trained" --tokenizer "$o/tokenizer" --out "$o/dense"

bunbuku-moe-upcycle upcycle    "$c/upcycle.toml"    --checkpoint "$o/dense" --out "$o/upcycled"
bunbuku-pretrain    train      "$c/continue.toml"   --run "$c/laptop.toml" --tokens "$o/tokens" --tokenizer "$o/tokenizer" --start "$o/upcycled" --out "$o/moe-trained"
bunbuku-pretrain    export     --checkpoint "$o/moe-trained" --tokenizer "$o/tokenizer" --out "$o/moe"
bunbuku-moe-upcycle similarity "$c/similarity.toml" --checkpoints upcycled="$o/upcycled" --checkpoints trained="$o/moe" --out "$o/similarity"

for m in dense moe; do
    bunbuku-align   sft        "$c/sft.toml"        --checkpoint "$o/$m" --dialogues "$o/dialogues" --out "$o/$m-sft-adapter"
    bunbuku-align   merge      --checkpoint "$o/$m" --adapter "$o/$m-sft-adapter" --out "$o/$m-sft"
    bunbuku-synth   prefer     "$c/prefer.toml"     --dialogues "$o/dialogues" --model "$o/$m-sft" --out "$o/$m-preferences"
    bunbuku-align   dpo        "$c/dpo.toml"        --checkpoint "$o/$m-sft" --preferences "$o/$m-preferences" --out "$o/$m-dpo-adapter"
    bunbuku-align   merge      --checkpoint "$o/$m-sft" --adapter "$o/$m-dpo-adapter" --out "$o/$m-chat"
done

models=(); for m in dense upcycled moe dense-sft moe-sft dense-chat moe-chat; do models+=(--checkpoints "$m=$o/$m"); done
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
