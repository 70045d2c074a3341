#!/usr/bin/env bash
# A damaged or malicious concept file is refused with one line before anything is done with it.
source "$(dirname -- "${BASH_SOURCE[0]}")/cli.sh"

concept_file=$golden/fusion/edlora_0.safetensors

# refuses_file PROMISE STATUS PATTERN FILE
refuses_file() {
  refuses "$1" "$2" "$3" fuse --method weight --base "$tiny_base" --lora output/fused.safetensors \
    "$4"
}

# refuses_header PROMISE PATTERN HEADER BYTES
refuses_header() {
  safetensors "$3" "$4" >input/file.safetensors
  refuses_file "$1" $exit_format "$2" input/file.safetensors
}

tensor() { printf '"%s":{"dtype":"F32","shape":%s,"data_offsets":%s}' "$1" "$2" "$3"; }

refuses_file "a missing file" $exit_format 'absent.safetensors' input/absent.safetensors
refuses_file "a folder in place of a file" $exit_format 'input' input
: >input/file.safetensors
refuses_file "an empty file" $exit_format 'file.safetensors' input/file.safetensors
printf 'abc' >input/file.safetensors
refuses_file "a file shorter than its header's length" $exit_format 'file.safetensors' \
  input/file.safetensors
head -c 3000 "$concept_file" >input/file.safetensors
refuses_file "a file cut off in its header" $exit_format 'file.safetensors' input/file.safetensors
head -c "$(($(stat -c %s "$concept_file") - 100))" "$concept_file" >input/file.safetensors
refuses_file "a file cut off in its data" $exit_format 'incomplete|truncated|only' \
  input/file.safetensors
printf 'This is no tensor file, but a letter to whom it may concern.' >input/file.safetensors
refuses_file "a text file" $exit_format 'file.safetensors' input/file.safetensors
{ le64 4611686018427387904; printf '{}'; } >input/file.safetensors
refuses_file "a huge header length" $exit_format 'header' input/file.safetensors
{ le64 -1; printf '{}'; } >input/file.safetensors
refuses_file "a header length that overflows" $exit_format 'header' input/file.safetensors

refuses_header "a header that is no JSON" 'JSON' '{"a": ' 0
refuses_header "a header that is no object" 'object' '[1, 2, 3]' 0
refuses_header "a deeply nested header" 'nested|JSON' \
  "$(printf '%10000s' '' | tr ' ' '[')" 0
refuses_header "offsets outside the file" 'ends at|incomplete' "{$(tensor a '[2]' '[0,8]')}" 4
refuses_header "offsets in the wrong order" 'before it begins' "{$(tensor a '[2]' '[8,0]')}" 8
refuses_header "overlapping tensors" 'overlap' \
  "{$(tensor a '[2]' '[0,8]'),$(tensor b '[2]' '[4,12]')}" 12
refuses_header "a gap between tensors" 'gap' \
  "{$(tensor a '[2]' '[0,8]'),$(tensor b '[2]' '[12,20]')}" 20
refuses_header "data behind the last tensor" 'file.safetensors' "{$(tensor a '[2]' '[0,8]')}" 12
refuses_header "a shape that does not need so many bytes" 'needs 12 bytes' \
  "{$(tensor a '[3]' '[0,8]')}" 8
refuses_header "a name that is there twice" 'twice' \
  "{$(tensor a '[2]' '[0,8]'),$(tensor a '[2]' '[0,8]')}" 8
refuses_header "a size that overflows" 'overflow' \
  "{$(tensor a '[4294967296,4294967296,4294967296]' '[0,0]')}" 0
refuses_header "a negative size" 'shape' "{$(tensor a '[-2]' '[0,8]')}" 8
refuses_header "an unknown dtype" 'dtype' '{"a":{"dtype":"F99","shape":[2],"data_offsets":[0,8]}}' 8
refuses_header "a tensor without a shape" 'shape' '{"a":{"dtype":"F32","data_offsets":[0,8]}}' 8

head -c 20000 "$golden/fusion/edlora_0.pth" >input/file.pth
refuses_file "a .pth file cut off" $exit_format 'file.pth' input/file.pth
# flip_bit FILE COPY: one bit changed in the data of the first tensor, whose place its archive aligns.
flip_bit() {
  local place
  place=$(($(grep -abom1 'data/0FB' "$1" | cut -d: -f1) + 200))
  cp "$1" "$2"
  # shellcheck disable=SC2059  # the format is the byte
  printf "\\x$(printf %02x $(($(od -An -tu1 -j $place -N1 "$1") ^ 1)))" |
    dd of="$2" bs=1 seek=$place conv=notrunc status=none
}
"$mos" convert "$concept_file" --to official --out input/whole.pth >/dev/null 2>&1
flip_bit input/whole.pth input/file.pth
accepts "a .pth file whose numbers are damaged is inspected, as no number is looked at" \
  inspect input/file.pth
damaged='zip archive is damaged: the checksum of its part archive/data/0 .*fetch it again'
refuses_file "and it is not used" $exit_format "$damaged" input/file.pth
refuses "nor converted" $exit_format "$damaged" convert input/file.pth --out output/x.safetensors
printf 'cos\nsystem\n(S"touch output/run"\ntR.' >input/file.pth
refuses_file "a pickle that wants to run a program" $exit_format 'file.pth' input/file.pth
finish
