#!/usr/bin/env bash
# A base model that is none, and concepts that do not fit it, are refused with all reasons named.
source "$(dirname -- "${BASH_SOURCE[0]}")/cli.sh"

concept_file=$golden/fusion/edlora_0.safetensors
layer=down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q

# refuses_base PROMISE STATUS PATTERN: with the model in the folder input/model.
refuses_base() {
  refuses "$1" "$2" "$3" fuse --method weight --base input/model --out output/fused "$concept_file"
}

# edits_config PART KEY VALUE: input/model becomes the tiny model with this one difference.
edits_config() {
  rm -rf input/model
  cp -rL "$tiny_base" input/model
  chmod -R u+w input/model
  sed -i -E "s/\"$2\": [^,]+,/\"$2\": $3,/" "input/model/$1"
}

refuses_base "a base model that is not there" $exit_format 'input/model'
mkdir input/model
refuses_base "an empty folder as base model" $exit_format 'model_index.json'
edits_config unet/config.json out_channels 4
rm input/model/unet/diffusion_pytorch_model.safetensors
refuses_base "a base model without a network" $exit_format 'unet.*missing'

edits_config unet/config.json in_channels -1
refuses_base "negative channels" $exit_format 'unet/config.json.*in_channels'
edits_config unet/config.json in_channels '"four"'
refuses_base "channels that are no number" $exit_format 'in_channels'
edits_config unet/config.json norm_num_groups 7
refuses_base "groups that do not divide the channels" $exit_format 'norm_num_groups 7'
edits_config unet/config.json layers_per_block 100000000
refuses_base "more layers than there can be" $exit_format 'layers_per_block'
edits_config unet/config.json cross_attention_dim 32000000000
refuses_base "a width that no memory holds" $exit_format 'cross_attention_dim'
edits_config unet/config.json act_fn '"mish"'
refuses_base "a switch that we do not build" $exit_format 'act_fn.*mish'
edits_config unet/config.json cross_attention_dim 48
refuses_base "weights of another size than the config says" $exit_mismatch 'cross_attention_dim|size'
edits_config vae/config.json latent_channels 0
refuses_base "no latent channels" $exit_format 'vae/config.json.*channels'
edits_config text_encoder/config.json num_attention_heads 0
refuses_base "no attention heads" $exit_format 'heads'
edits_config text_encoder/config.json num_attention_heads 5
refuses_base "heads that do not divide the width" $exit_format 'heads'
edits_config scheduler/scheduler_config.json num_train_timesteps 0
refuses_base "a schedule without steps" $exit_format 'num_train_timesteps'
edits_config scheduler/scheduler_config.json beta_schedule '"steep"'
refuses_base "an unknown noise schedule" $exit_format 'steep'
printf '{"truncated": ' >input/model/unet/config.json
refuses_base "a config that is no JSON" $exit_format 'unet/config.json|scheduler'

# pair LAYER IN OUT: the header entries of a rank-1 LoRA, at $position; counts it on.
position=0
entry() {
  printf '"%s":{"dtype":"F32","shape":%s,"data_offsets":[%d,%d]}' "$1" "$2" $position \
    $((position + $3))
}
refuses_concept() {
  refuses "$1" $exit_mismatch "$2" fuse --method weight --base "$tiny_base" \
    --lora output/fused.safetensors input/file.safetensors
}

{
  first=$(entry apples '[1]' 4)
  position=4
  second=$(entry pears '[1]' 4)
  safetensors "{$first,$second}" 8
} >input/file.safetensors
refuses_concept "all keys that mean nothing are listed" 'apples.*pears'

# concept_with LAYER DOWN UP: one word and a rank-1 LoRA with these numbers of features.
concept_with() {
  local word down up
  position=0
  word=$(entry 'new_concept_embedding/<cat1>' "[1,${4:-32}]" $((4 * ${4:-32})))
  position=$((4 * ${4:-32}))
  down=$(entry "$1.lora_down.weight" "[1,$2]" $((4 * $2)))
  position=$((position + 4 * $2))
  up=$(entry "$1.lora_up.weight" "[$3,1]" $((4 * $3)))
  position=$((position + 4 * $3))
  safetensors "{$word,$down,$up}" $position >input/file.safetensors
}
concept_with "unet/$layer" 16 16
accepts "a hand-made concept that fits is taken" fuse --method weight --base "$tiny_base" \
  --lora output/fused.safetensors input/file.safetensors
concept_with unet/no_such_layer 16 16
refuses_concept "a layer that the base does not have" 'no_such_layer'
concept_with "unet/$layer" 48 48
refuses_concept "a layer of another size" "$layer"
refuses "the second of two, in a trial, by its name" $exit_mismatch 'file \(U-Net\) does not fit' \
  fuse --method weight --base "$tiny_base" --lora output/fused.safetensors \
  "$golden/fusion/edlora_0.safetensors" input/file.safetensors --dry-run
refuses "one that does not fit, beside one that is not there" $exit_mismatch '1 of 2 files do not fit' \
  inspect --base "$tiny_base" input/file.safetensors input/absent.safetensors
holds "whose fault is said too" grep -q 'cannot read input/absent' stderr
concept_with "unet/$layer" 16 16 40
refuses_concept "words of another width" '<cat1>'
# ---- Options that nothing would come of ----

lora=$golden/fusion/edlora_0.safetensors
refuses "--lora-rank without --lora" $exit_usage 'lora-rank are of --lora' \
  fuse --base "$tiny_base" --method weight "$lora" --out output/model --lora-rank 3
refuses "--lora-format without --lora" $exit_usage 'lora-format .* of --lora' \
  fuse --base "$tiny_base" --method weight "$lora" --out output/model --lora-format kohya
accepts "--overwrite of a LoRA, which is replaced anyway" \
  fuse --base "$tiny_base" --method weight "$lora" --lora output/l.safetensors --overwrite
accepts "a base model and a rank that nothing needs" \
  convert "$lora" --base "$tiny_base" --rank 8 --to kohya --only lora --out output/c.safetensors
holds "which is said of the base model" grep -q -- '--base changes nothing' stderr
holds "and of the rank" grep -q -- '--rank 8 changes nothing' stderr
refuses "how to read a base model that is not given" $exit_usage 'how --base is read' \
  convert "$lora" --ema --out output/c.safetensors
refuses "an option of concepts, of a model" $exit_usage '--to does not apply: .* is a model' \
  convert "$tiny_base" --to kohya --out output/model
refuses "one of two words" $exit_usage '--mean-rows does not apply: .* is a model' \
  convert "$tiny_base" --mean-rows --out output/model
mkdir -p input/peft && cp "$lora" input/peft/adapter_model.safetensors
refuses "a folder that is no model" $exit_format 'without model_index.json.*name that' \
  convert input/peft --to kohya --out output/c.safetensors
refuses "an option of models, of a concept" $exit_usage '--overwrite does not apply: .* is a concept' \
  convert "$lora" --overwrite --out output/c.safetensors
mkdir -p input/data/images
accepts "something to tune on" sample --base "$tiny_base" --prompt "a ball" --height 64 --width 64 \
  --steps 1 --out input/ball.png
cp input/ball.png input/data/images
# idle OPTION VALUE OTHER...: an option of tuning that others make idle.
idle() {
  accepts "$1 where nothing comes of it" tune --base "$tiny_base" --data input/data --check \
    --words '<a> <b>' --class-word ball "$@"
  holds "is said: $*" grep -q -- "$1 .*changes nothing" stderr
}
idle --prior-prompt x
idle --prior-steps 9 --method lora
idle --rank 8 --form full
idle --lora-start gaussian --method svdiff
idle --basis-seed 3
idle --neuron-threshold 2
idle --kv-drop 0.5 --rank 0
idle --scale-min 0.5 --framing fit
idle --keep 2 --shuffle false
idle --full-identity --attention-weight 0
idle --density-bandwidth 2
idle --lora-scale 2 --rank 0
idle --where cross_kv --rank 0
idle --unet-rate 0.5 --method p_plus
idle --density-weight 2 --method svdiff
finish
