#!/usr/bin/env bash
# Prompts, words and files of concepts are read as their owners mean them, and what is not is said.
source "$(dirname -- "${BASH_SOURCE[0]}")/cli.sh"

first=$golden/fusion/edlora_0.safetensors # <hina1> <hina2>
sample=(sample --base "$tiny_base" --height 64 --width 64 --steps 1 --dtype float32 --out output/a.png)
says() { holds "$1" grep -qE -- "$2" <<<"$err"; }

# An embedding as A1111 has them, of the tiny model's width.
safetensors '{"emb_params":{"dtype":"F32","shape":[1,32],"data_offsets":[0,128]}}' 128 \
  >input/EasyNeg.safetensors

negative=(--concept input/EasyNeg.safetensors)
accepts "an embedding in the negative prompt" "${sample[@]}" "${negative[@]}" --prompt "a bear" \
  --negative-prompt "EasyNeg, blurry"
accepts "and in that of a region" "${sample[@]}" "${negative[@]}" --prompt "beach" \
  --regions "[a bear]-*-[EasyNeg]-*-[0, 0, 1, 0.5]"
refuses "but not nowhere" $exit_usage 'write "EasyNeg" where it shall be' "${sample[@]}" "${negative[@]}" --prompt "a bear"
refuses "nor as a part of another word" $exit_usage 'EasyNeg' "${sample[@]}" "${negative[@]}" \
  --prompt "a bear" --negative-prompt "EasyNegative"

refuses "a region of one part" $exit_usage 'has 1 part, expected three' "${sample[@]}" \
  --prompt "a bear" --regions "[a bear]"

plain=("${sample[@]}" --plain-text)
accepts "plain text that was asked for" "${plain[@]}" --prompt "a (bear:1.4) <lora:mybear:0.8>" \
  --negative-prompt "[a {red|blue} bear] BREAK snow++" --regions "[((bear))]-*-[]-*-[0, 0, 1, 0.5]"
holds "is no news" bash -c '! grep -q warning' <<<"$err"
accepts "but that it is too long" "${plain[@]}" --prompt "$(printf 'bear %.0s' {1..90})"
says "is" 'warning: .*(cut|77)'
accepts "what is never read is said once" "${sample[@]}" --prompt "a (bear)1.4" \
  --negative-prompt "a (bear)1.4"
holds "is said once" test "$(grep -c 'is read as plain text' <<<"$err")" -eq 1

# same NAME ARGUMENTS...: whether the picture is the one in output/NAME.png, to its pixels.
accepts "a bear" "${sample[@]:0:9}" --out output/plain.png --prompt "a bear, snow"
accepts "a bear in brackets" "${sample[@]:0:9}" --out output/weighted.png --prompt "a (bear:1.4), snow"
holds "is another one" test "$(wc -l <<<"$err")" -le 1
holds "with other bytes" bash -c '! cmp -s output/plain.png output/weighted.png'
accepts "and comes out again" "${sample[@]:0:1}" --rerun output/weighted.png --out output/again.png
holds "with the same bytes" cmp -s output/weighted.png output/again.png
accepts "brackets with backslashes" "${sample[@]}" --prompt 'a \(bear\) BREAK snow++'
refuses "what changes between steps" $exit_usage 'between steps.*--plain-text' "${sample[@]}" \
  --prompt "a [cat:dog:0.5]"
refuses "a file that is not there" $exit_usage '<lora:absent>.*--lora-folder' "${sample[@]}" \
  --prompt "a bear <lora:absent:1>"
refuses "nor by its whole name" $exit_usage 'no file absent.safetensors in' "${sample[@]}" \
  --prompt "a bear <lora:absent.safetensors:1>"
refuses "one file with two scales" $exit_usage 'scales 1 and 0.5' "${sample[@]}" \
  --prompt "a bear <lora:x:1> <lora:x:0.5>"
accepts "choices" "${sample[@]:0:9}" --out output/choice --count 2 --prompt "a {red|blue|green} bear"
holds "are settled in the record" bash -c '! grep -q "{red" output/choice/*.json'

refuses "a box that no layer sees" $exit_usage 'region 2 "a cat".*\[0, 0, 5, 64\]' "${sample[@]}" \
  --prompt "beach" --regions "[a bear]-*-[]-*-[0,0,64,32]|[a cat]-*-[]-*-[0, 0, 5, 64]"

mkdir "input/my concepts"
cp "$first" "input/my concepts/hat, red.safetensors"
cp "$first" "input/my concepts/a=b, c.safetensors"
for name in "hat, red.safetensors" "a=b, c.safetensors" "hat, red.safetensors=0.5" \
  "a=b, c.safetensors=0.5"; do
  accepts "$name can be given" "${sample[@]}" --concept "input/my concepts/$name" \
    --prompt "a <hina1> <hina2>"
done
accepts "and beside another" "${sample[@]}" --prompt "<hina1> <hina2>" --negative-prompt EasyNeg \
  --concept "input/my concepts/hat, red.safetensors=0.5 , input/EasyNeg.safetensors"
refuses "files that are not there are named one by one" $exit_format 'absent.safetensors' \
  "${sample[@]}" --prompt "a bear" --concept "absent.safetensors,input/EasyNeg.safetensors"

refuses "a U-Net is no concept, which takes one short line" $exit_mismatch \
  '^.{1,250}no concept but a U-Net' "${sample[@]}" --prompt "a bear" \
  --concept "$tiny_base/unet/diffusion_pytorch_model.safetensors"

# lora NAME: rank 1 on one layer, in kohya's names, without words of its own.
lora() {
  local layer=lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q
  safetensors "{\"$layer.lora_down.weight\":{\"dtype\":\"F32\",\"shape\":[1,16],\"data_offsets\":[0,64]},\
\"$layer.lora_up.weight\":{\"dtype\":\"F32\",\"shape\":[16,1],\"data_offsets\":[64,128]}}" 128 \
    >"input/$1.safetensors"
}
lora A
lora B
accepts "a file named in a prompt is a concept" "${sample[@]:0:9}" --out output/tag.png \
  --prompt "a bear <lora:A:0.5>" --lora-folder input
holds "in its record" grep -q '"scale": 0.5' output/tag.json
fuse=(fuse --base "$tiny_base" --method weight --lora output/f.safetensors)
accepts "two concepts with the same trigger words" "${fuse[@]}" "input/A.safetensors=sks bear" \
  "input/B.safetensors=Sks  bear"
says "are said" 'warning: A and B both answer to'
accepts "two with other ones" "${fuse[@]}" "input/A.safetensors=sks bear" \
  "input/B.safetensors=abc bear"
holds "are not" test "$(grep -c 'both answer' <<<"$err")" -eq 0
finish
