#!/usr/bin/env bash
# Base models in every layout that people have: converted there and back, used as they are, and
# refused with one line when they are something else.
source "$(dirname -- "${BASH_SOURCE[0]}")/cli.sh"

weights=(unet/diffusion_pytorch_model vae/diffusion_pytorch_model text_encoder/model)

# same_weights A B: two model folders hold the same tensor files, byte for byte.
# shellcheck disable=SC2317  # holds calls it
same_weights() {
  local part
  for part in "${weights[@]}"; do cmp "$1/$part.safetensors" "$2/$part.safetensors" || return 1; done
}

cp -rL "$tiny_base" input/model
chmod -R u+w input/model
accepts "a folder as it is, in the same precision" convert input/model --out output/folder
accepts "a folder becomes a single file" convert output/folder --out output/single.safetensors
accepts "and the file becomes a folder" convert output/single.safetensors --out output/back
holds "there and back, every tensor has the same bytes" same_weights output/folder output/back
holds "and so has everything beside them" diff -r output/folder output/back
accepts "float16" convert input/model --dtype float16 --out output/half
holds "is half the size" test "$(stat -c %s output/half/unet/diffusion_pytorch_model.safetensors)" \
  -lt "$(($(stat -c %s output/folder/unet/diffusion_pytorch_model.safetensors) * 6 / 10))"

paint=(--prompt "a dog" --steps 2 --height 64 --width 64 --dtype float32)
accepts "a picture of the folder" sample --base output/folder "${paint[@]}" --out output/a.png
accepts "a picture of the single file" sample --base output/single.safetensors "${paint[@]}" \
  --out output/b.png
holds "both models are one" diff <(grep hash output/a.json) <(grep hash output/b.json)

mkdir input/variant
cp -r output/half/. input/variant
for part in "${weights[@]}"; do
  mv "input/variant/$part.safetensors" "input/variant/$part.fp16.safetensors"
done
accepts "a folder that has only fp16 files" sample --base input/variant "${paint[@]}" \
  --out output/c.png
refuses "a variant that is not there" $exit_format 'variant "bf16"' convert input/variant \
  --variant bf16 --out output/d

# Shards: the index names files beside it.
cp -r output/folder input/shards
unet=input/shards/unet/diffusion_pytorch_model
mv $unet.safetensors $unet-00001-of-00001.safetensors
printf '{"weight_map": {"conv_in.bias": "diffusion_pytorch_model-00001-of-00001.safetensors"}}' \
  >$unet.safetensors.index.json
accepts "a sharded folder" convert input/shards --out output/whole
holds "holds the same weights" same_weights output/folder output/whole
printf '{"weight_map": {"conv_in.bias": "shard-2-of-2.safetensors"}}' >$unet.safetensors.index.json
refuses "a missing shard" $exit_format 'shard-2-of-2' convert input/shards --out output/e
printf '{"weight_map": {"conv_in.bias": "../unet.safetensors"}}' >$unet.safetensors.index.json
refuses "a shard outside its folder" $exit_format 'beside it' convert input/shards --out output/e

accepts "v-prediction when asked for" convert output/single.safetensors \
  --prediction-type v_prediction --out output/v
holds "is written down" grep -q '"prediction_type": "v_prediction"' output/v/scheduler/scheduler_config.json
# ---- The same flags wherever a base model is loaded ----

fuse=(fuse --method weight "$golden/fusion/edlora_0.safetensors")
for command in tune fuse sample convert; do
  run_mos "$command" --help
  for flag in variant ema prediction-type original-config; do
    holds "mos $command --help has --$flag" grep -q -- "^  --$flag " <<<"$out"
  done
done
refuses "painting with a variant that is not there" $exit_format 'variant "bf16"' \
  sample --base input/variant --variant bf16 "${paint[@]}" --out output/f.png
refuses "fusing with a variant that is not there" $exit_format 'variant "bf16"' \
  "${fuse[@]}" --base input/variant --variant bf16 --lora output/f.safetensors
refuses "tuning with a variant that is not there" $exit_format 'variant "bf16"' \
  tune --base input/variant --variant bf16 --data "$project/base/concepts/teddy" --size 64 \
  --out output/f.safetensors
refuses "a variant of a single file" $exit_usage '--variant.*director' \
  sample --base output/single.safetensors --variant fp16 "${paint[@]}" --out output/f.png
refuses "averaged weights of a folder" $exit_usage '--ema.*single file' \
  sample --base output/folder --ema "${paint[@]}" --out output/f.png

# Two variants with other weights: which of them a picture was painted with is in its record.
accepts "another random model" init-random --config output/folder --seed 9 --out output/other
cp -r output/folder input/two
for part in "${weights[@]}"; do
  cp "output/other/$part.safetensors" "input/two/$part.other.safetensors"
done
accepts "a picture of a variant" sample --base input/two --variant other "${paint[@]}" \
  --out output/variant.png
accepts "it is made again" sample --rerun output/variant.png --out output/variant2.png
holds "from the same variant, byte for byte" cmp output/variant.png output/variant2.png
accepts "it is made again where the variant has moved to the plain files" \
  sample --rerun output/variant.png --base output/other --out output/variant3.png
holds "byte for byte" cmp output/variant.png output/variant3.png
accepts "a picture with v-prediction" sample --base output/single.safetensors "${paint[@]}" \
  --prediction-type v_prediction --out output/velocity.png
holds "is another one" bash -c '! cmp -s output/b.png output/velocity.png'
accepts "it is made again" sample --rerun output/velocity.png --out output/velocity2.png
holds "with v-prediction, byte for byte" cmp output/velocity.png output/velocity2.png
holds "its record says so" grep -q '"prediction_type": "v_prediction"' output/velocity.json
holds "a record without such flags says nothing of them" bash -c '! grep -q prediction_type output/b.json'
refuses "another prediction than that of the record" $exit_usage 'v_prediction.*epsilon' \
  sample --rerun output/velocity.png --prediction-type epsilon --out output/f.png
accepts "a fused model keeps the prediction that was asked for" "${fuse[@]}" --base output/folder \
  --prediction-type v_prediction --out output/fused
holds "in its settings" grep -q '"prediction_type": "v_prediction"' \
  output/fused/scheduler/scheduler_config.json
holds "and in its report" grep -q '"prediction_type": "v_prediction"' output/fused/fusion_report.json

refuses "another prediction type" $exit_usage 'prediction-type' convert output/single.safetensors \
  --prediction-type noise --out output/f
refuses "averaged weights that are not there" $exit_usage 'no averaged weights' \
  convert output/single.safetensors --ema --out output/f
accepts "the short name of a precision" convert input/model --dtype fp16 --out output/short
holds "is the same precision" same_weights output/half output/short
refuses "a precision that there is not" $exit_usage 'float16' convert input/model --dtype fp8 \
  --out output/f
refuses "a place that is taken" $exit_usage 'exists' convert input/model --out output/folder

head -c 100000 output/single.safetensors >input/cut.safetensors
refuses "a single file that is cut off" $exit_format 'cut.safetensors' convert input/cut.safetensors \
  --out output/g
refuses "a concept as base model" $exit_mismatch 'no U-Net' sample \
  --base "$golden/fusion/edlora_0.safetensors" "${paint[@]}" --out output/g.png
safetensors '{"conditioner.embedders.0.transformer.text_model.final_layer_norm.bias":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"model.diffusion_model.input_blocks.0.0.weight":{"dtype":"F32","shape":[1,1,1,1],"data_offsets":[4,8]},"model.diffusion_model.label_emb.0.0.weight":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}}' 12 \
  >input/xl.safetensors
refuses "Stable Diffusion XL, by name" $exit_mismatch 'XL' sample --base input/xl.safetensors \
  "${paint[@]}" --out output/g.png

accepts "inspect says what a single file is" inspect output/single.safetensors
holds "a model of a known family" grep -q 'family: Stable Diffusion 1.x' <<<"$out"
accepts "inspect says what a folder is" inspect output/folder
accepts "a random model" init-random --config output/folder --seed 3 --out output/random
accepts "the same once more" init-random --config output/folder --seed 3 --out output/again
holds "has the same bytes" same_weights output/random output/again
finish
