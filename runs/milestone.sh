#!/usr/bin/env bash
# What a milestone of a training could do once it is taught to answer. In the run settings of `bunbuku-pretrain train`:
#   milestone_command = "bash runs/milestone.sh runs/tiny runs/out/tiny"     (configs, and what runs/tiny.sh made before)
# The milestone is $MILESTONE, in Hugging Face's format; the reports under $MILESTONE_OUT become curves of the run's page.
# Every milestone is taught the same rows, in the same order and number ($SFT_STEPS), and asked the same questions.
set -euo pipefail
c=${1:?a folder of configs} o=${2:?a folder with raw, corpus, dialogues and exam}
: "${MILESTONE:?is set by bunbuku-pretrain train}" "${MILESTONE_OUT:?is set by bunbuku-pretrain train}"
w=$MILESTONE_OUT
parallel=(); [[ ! -d $o/raw/parallel ]] || parallel=(--parallel "$o/raw#parallel")

bunbuku-synth generate  "$c/verified.toml"   --corpus "$o/corpus#test" "${parallel[@]}" --out "$o/verified"
python "$(dirname "$0")/questions.py"        --dialogues "$o/verified" --not-in "$o/dialogues" --out "$w/questions"
bunbuku-align sft       "$c/sft.toml"        --set max_steps="${SFT_STEPS:-100}" --checkpoint "$MILESTONE" --dialogues "$o/dialogues" --out "$w/adapter"
bunbuku-align merge     --checkpoint "$MILESTONE" --adapter "$w/adapter" --out "$w/chat"
bunbuku-eval score      "$c/score.toml"      --checkpoints base="$MILESTONE" --checkpoints taught="$w/chat" --data "$w/questions" --out "$w/score"
bunbuku-eval perplexity "$c/perplexity.toml" --checkpoints base="$MILESTONE" --corpus "$o/corpus#validation" --out "$w/perplexity"
bunbuku-eval choice     "$c/choice.toml"     --checkpoints base="$MILESTONE" --checkpoints taught="$w/chat" --items "$o/exam" --out "$w/choice"
