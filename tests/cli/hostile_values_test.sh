#!/usr/bin/env bash
# What a file claims is bounded before it is done; values in files are as strict as flags; NaN and
# infinity are refused with the file and the tensor.
source "$(dirname -- "${BASH_SOURCE[0]}")/cli.sh"

concept_file=$golden/fusion/edlora_0.safetensors
paint=(sample --height 128 --width 128 --steps 2 --dtype float32 --prompt "a dog")
plain=("${paint[@]}" --base "$tiny_base" --out output/a.png)
tuned=(tune --base "$tiny_base" --data input --out output/a.safetensors)

# ---- NaN ----

# spoil FILE: the last number of its data becomes NaN, whichever type of number it is.
spoil() {
  printf '\xff\xff\xff\x7f' |
    dd of="$1" bs=1 seek="$(($(stat -c %s "$1") - 4))" conv=notrunc status=none
}

cp "$concept_file" input/nan.safetensors
chmod u+w input/nan.safetensors
spoil input/nan.safetensors
refuses "a concept with NaN" $exit_format 'nan.safetensors: the tensor .* holds NaN' \
  "${plain[@]}" --concept input/nan.safetensors
for part in text_encoder unet vae; do
  cp -rL "$tiny_base" "input/base-$part"
  chmod -R u+w "input/base-$part"
  spoil "$(find "input/base-$part/$part" -name '*.safetensors')"
  refuses "a base model with NaN in its $part" $exit_format "base-$part/$part: the tensor .* NaN" \
    "${paint[@]}" --base "input/base-$part" --out output/a.png
  refuses "and it is not converted" $exit_format "base-$part: the tensor .* NaN" \
    convert "input/base-$part" --out output/model.safetensors
done
cp -rL "$golden/t2iadapter_keypose" input/adapter
chmod -R u+w input/adapter
spoil "$(find input/adapter -name '*.safetensors')"
accepts "a picture to begin with" "${paint[@]}" --base "$tiny_base" --out input/picture.png
refuses "an adapter with NaN" $exit_format 'adapter.*: the tensor .* holds NaN' \
  "${plain[@]}" --adapter input/adapter --condition input/picture.png

# ---- Finite numbers whose product is infinite ----

# rank_one LAYER BYTES: a LoRA of 16 inputs and outputs, all of whose numbers are the float32 BYTES.
rank_one() {
  local layer=lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_$1
  local factor='"dtype":"F32","data_offsets"'
  safetensors "{\"$layer.lora_down.weight\":{$factor:[0,64],\"shape\":[1,16]},\
\"$layer.lora_up.weight\":{$factor:[64,128],\"shape\":[16,1]}}" 0
  # shellcheck disable=SC2059  # the format is the bytes
  for _ in {1..32}; do printf "$2"; done
}
rank_one attn1_to_q '\xe6\xb1\x61\x7f' >input/product.safetensors   # 3e38
rank_one attn1_to_out_0 '\x6b\x0b\x5e\x5d' >input/huge.safetensors # 1e18
refuses "a concept whose product is infinite" $exit_mismatch \
  'product.safetensors the layer .*attn1.to_q holds NaN or infinity' \
  "${plain[@]}" --concept input/product.safetensors
refuses "and it is not fused" $exit_mismatch 'layer .*attn1.to_q holds NaN or infinity' \
  fuse --base "$tiny_base" --method weight 'input/product.safetensors=a dog' --out output/model \
  --lora output/lora.safetensors
layer=lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q
safetensors "{\"$layer.lora_down.weight\":{\"dtype\":\"F32\",\"shape\":[1,8],\"data_offsets\":[0,32]},\
\"$layer.lora_up.weight\":{\"dtype\":\"F32\",\"shape\":[16,1],\"data_offsets\":[32,96]}}" 96 \
  >input/narrow.safetensors
refuses "a concept of another width" $exit_mismatch '1 of its 1 LoRA layer is wrong: ' \
  "${plain[@]}" --concept input/narrow.safetensors
for factor in 1e38 1e300 -20000; do
  refuses "a factor of $factor on a concept" $exit_usage 'expected a value from -10000 to 10000' \
    "${plain[@]}" --concept "$concept_file=$factor"
  refuses "and on all" $exit_usage 'merge-scale is .*expected a value from -10000 to 10000' \
    "${plain[@]}" --concept "$concept_file" --merge-scale=$factor
done
refuses "a picture that came out as NaN" $exit_mismatch 'came out as NaN or infinity' \
  "${plain[@]}" --concept input/huge.safetensors

# ---- Values in files ----

config() { printf '%s' "$1" >input/config.json; }
refuses_config() { # PROMISE STATUS PATTERN JSON
  config "$4"
  refuses "$1" "$2" "$3" "${plain[@]}" --config input/config.json
  refuses "$1, of tuning" "$2" "$3" "${tuned[@]}" --config input/config.json
}
refuses_config "a fraction for a seed" $exit_usage 'config.json: "seed" is 2.7' '{"seed": 2.7}'
refuses_config "a seed below 0" $exit_usage '"seed" is -1' '{"seed": -1}'
refuses_config "a seed beyond all numbers" $exit_usage '"seed" is 1e' '{"seed": 1e30}'
refuses_config "a text for a number" $exit_usage 'expected a whole number' '{"seed": "1"}'
refuses_config "true for a number" $exit_usage 'expected a whole number' '{"seed": true}'
refuses_config "null for a number" $exit_usage 'expected a whole number' '{"seed": null}'
config '{"count": 0}'
refuses "a number out of its range" $exit_usage 'config.json: "count" is 0, expected' \
  "${plain[@]}" --config input/config.json
config '{"steps": -1}'
refuses "and in tuning" $exit_usage 'config.json: "steps" is -1, expected' \
  "${tuned[@]}" --config input/config.json
refuses_config "a key that comes twice" $exit_format 'key "seed" twice' '{"seed": 1, "seed": 2}'
for key in batch accumulate rank variants size preview_pictures steps; do
  config "{\"$key\": 9000000000000000000}"
  refuses "a count that no memory holds, of $key" $exit_usage "config.json: \"$key\" is 9000000000" \
    "${tuned[@]}" --config input/config.json
done
for key in steps batch preview hard_binding width; do
  config "{\"$key\": 2000000000}"
  refuses "and of $key in painting" $exit_usage "config.json: \"$key\" is 2000000000, expected" \
    sample --base "$tiny_base" --prompt "a dog" --out output/a.png --config input/config.json
done
fused=(fuse --base "$tiny_base" "$concept_file" --lora output/lora.safetensors)
for value in 5 '["lora"]' '{}'; do
  config "{\"method\": $value}"
  refuses "the method $value" $exit_usage 'config.json: "method" is' "${tuned[@]}" \
    --config input/config.json
  refuses "and of fusing" $exit_usage 'config.json: "method" is' "${fused[@]}" \
    --config input/config.json
done
printf '{"threads": 1000000}' >input/config.json
refuses "a million threads" $exit_usage 'config.json: "threads" is 1000000, expected' \
  "${tuned[@]}" --config input/config.json
config '{"count": 10001}'
refuses "more pictures than are looked at before" $exit_usage \
  'config.json: "count" is 10001, expected a value from 1 to 10000' \
  "${plain[@]}" --config input/config.json
refuses "and by a flag, of a trial" $exit_usage '--count is 1000000, expected .* to 10000' \
  "${plain[@]}" --count 1000000 --dry-run
config "$(printf '%100000s' '' | tr ' ' '[')"
refuses "a configuration that is nested deep" $exit_format 'nested deeper' \
  "${plain[@]}" --config input/config.json
refuses "a scene that is nested deep" $exit_format 'nested deeper' \
  "${plain[@]}" --scene input/config.json
for option in --config --scene; do
  refuses "a file without end for $option" $exit_format 'cannot read /dev/zero: it has more than 16 MB' \
    "${plain[@]}" $option /dev/zero
done
config '{"regions": [{"prompt": "a", "box": [0, 0, 1, 1]}, {"prompt": "b", "box": [0, -1, 1, 1]}]}'
refuses "a box outside of the canvas" $exit_usage 'config.json: region 2: box .*outside' \
  "${plain[@]}" --scene input/config.json
config '{"regions": [{"prompt": "a", "box": [0, 0, 1, 1], "polygon": null}]}'
refuses "null for a polygon" $exit_usage 'config.json: region 1: "polygon" must be a list' \
  "${plain[@]}" --scene input/config.json
config "{\"prompt\": $(printf '%100000s' '' | tr ' ' 1)}"
refuses "a value of 100,000 digits, quoted in a line" $exit_format '^.{1,600}$' \
  "${plain[@]}" --scene input/config.json

# ---- Records of pictures ----

be32() { printf '%08x' "$1" | sed 's/../\\x&/g' | xargs -0 printf; }
chunk() { # TYPE FILE: gzip ends with the checksum that PNG has, its bytes the other way round
  be32 "$(stat -c %s "$2")"
  { printf '%s' "$1" && cat "$2"; } >input/chunk
  cat input/chunk
  gzip -c input/chunk | tail -c 8 | head -c 4 | od -An -tx1 |
    awk '{ printf "\\x%s\\x%s\\x%s\\x%s", $4, $3, $2, $1 }' | xargs -0 printf
}
png_with_record() { # JSON: a grey pixel
  printf '\x89PNG\r\n\x1a\n'
  { be32 1 && be32 1 && printf '\x08\x00\x00\x00\x00'; } >input/data
  chunk IHDR input/data
  printf 'mixofshow\x00%s' "$1" >input/data
  chunk tEXt input/data
  printf '\x78\x9c\x63\x60\x00\x00\x00\x02\x00\x01' >input/data
  chunk IDAT input/data
  : >input/data
  chunk IEND input/data
}
record() { # COUNT THREADS SCALE
  printf '{"mixofshow": "0.1.0", "libtorch": "1.13.0", "base": {"path": "%s", "hash": ""},' \
    "$tiny_base"
  printf '"concepts": [{"file": "%s", "sha256": "", "scale": %s}],' "$concept_file" "$3"
  printf '"scene": {"prompt": "a dog", "height": 128, "width": 128, "regions": []},'
  printf '"options": {"height": 128, "width": 128, "steps": 1, "seed": 2, "count": %s},' "$1"
  printf '"device": "cpu", "dtype": "float32", "threads": %s, "seed": 2}' "$2"
}
refuses_record() { # PROMISE STATUS PATTERN RECORD
  png_with_record "$4" >input/record.png
  refuses "$1" "$2" "$3" sample --rerun input/record.png --out output/again.png
}
png_with_record "$(record 1 1 1)" >input/record.png
accepts "a record with possible values" sample --rerun input/record.png --out input/again.png
refuses_record "a record of a billion pictures" $exit_format '"count" is 1000000000' \
  "$(record 1000000000 1 1)"
refuses_record "a record of 10,001 pictures" $exit_format '"count" is 10001' \
  "$(record 10001 1 1)"
refuses_record "a record of half a picture" $exit_format '"count" is 0.5' "$(record 0.5 1 1)"
refuses_record "a record of 100,000 threads" $exit_format 'impossible' "$(record 1 100000 1)"
refuses_record "a record whose options are none" $exit_format 'record.png: "options" is 5' \
  "$(record 1 1 1 | sed 's/"options": {[^}]*}/"options": 5/')"
refuses_record "a record that says more than is known" $exit_format 'record.png: "sheen" is nothing' \
  "$(record 1 1 1 | sed 's/"device"/"sheen": 1, "device"/')"
refuses_record "a record with a text for a scale" $exit_format '"scale" is "1"' \
  "$(record 1 1 '"1"')"
refuses_record "a record of a type that is none" $exit_format 'record.png: .*float8.*expected one of' \
  "$(record 1 1 1 | sed 's/"float32"/"float8"/')"
refuses_record "a record of a device that is none" $exit_format 'record.png: "device" is "gpu"' \
  "$(record 1 1 1 | sed 's/"device": "cpu"/"device": "gpu"/')"
for box in '[0, 0, 1]' '"left"' '[0, 0, "1", 1]' '[0, 0, 0, 0]'; do
  refuses_record "a record of the box $box" $exit_format 'record.png: .*region 1' \
    "$(record 1 1 1 | sed "s/\"regions\": \[\]/\"regions\": [{\"prompt\": \"a cat\", \"box\": $box}]/")"
  printf '{"prompt": "a dog", "regions": [{"prompt": "a cat", "box": %s}]}' "$box" >input/scene.json
  refuses "a scene of it, which is what was asked for" $exit_usage 'scene.json: region 1' \
    "${paint[@]:0:9}" --base "$tiny_base" --out output/a.png --scene input/scene.json
done
refuses "a record that is nested deep once it is unpacked" $exit_format 'nested deeper' \
  sample --rerun "$project/tests/fuzz/corpus/picture/record-nested-deep.png" --out output/b.png

# ---- The base model's own training ----

refuses "a batch of pretraining that no memory holds" $exit_usage '--batch is 9000000000, expected' \
  pretrain unet --batch 9000000000 --out output/base
mkdir -p input/stage/unet
printf '{"noises": 0}' >input/stage/unet/options.json
refuses "a stage that has kept what is impossible" $exit_usage 'options.json: "noises" is 0, expected' \
  pretrain unet --out input/stage
refuses "a sheet of a billion columns" $exit_usage '--columns is 1000000000, expected' \
  world sheet --sprites input --columns 1000000000 --out output/sheet.png

# ---- Names ----

cp "$concept_file" "input/$(printf 'caf\xe9').safetensors"
refuses "a file whose name is not UTF-8, before the work" $exit_usage 'not UTF-8; rename' \
  "${plain[@]}" --concept "input/$(printf 'caf\xe9').safetensors"
refuses "words that are not UTF-8" $exit_usage 'not UTF-8' "${tuned[@]}" \
  --words "$(printf '<\xff>')"
finish
