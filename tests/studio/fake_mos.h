#pragma once

namespace mos::studio {

/// `mos KIND --help json` gives three options; `mos sample` writes the picture `out`, tells of it
/// and then does what the prompt says: "fail", "wait" (until it is told to end, or its job is gone:
/// one that a test leaves behind ends with the test's folder), "die".
inline constexpr const char* kFakeMos = R"sh(#!/bin/sh
kind=$1
schema() {
  echo '{"type":"object","additionalProperties":false,"properties":{
    "out":{"type":"string","format":"path"},"base":{"type":"string","format":"path"},
    "data":{"type":"string","format":"path"},"fresh":{"type":"boolean"},"device":{"type":"string","default":"cpu"},
    "concept":{"type":"array","items":{"type":"string","format":"path"}},
    "concepts":{"type":"array","items":{"type":"string","format":"path"}},
    "lora_folder":{"type":"string","format":"path"},"lora":{"type":"string","format":"path"},
    "report":{"type":"string","format":"path"},"page":{"type":"string","format":"path"},
    "prior_folder":{"type":"string","format":"path"},"pictures":{"type":"array","items":{"type":"string","format":"path"}},
    "previews":{"type":"string","format":"path"},"init":{"type":"string"},"mask":{"type":"string"},
    "prompt":{"type":["string","null"]},"negative_prompt":{"type":["string","null"]},
    "scene":{"type":"string","format":"path"},"from":{"type":"string","format":"path"},
    "seed":{"type":"integer","minimum":0},"count":{"type":"integer","minimum":1},
    "steps":{"type":"integer","minimum":1},"width":{"type":"integer"},"height":{"type":"integer"},
    "batch":{"type":"integer"},"guidance_scale":{"type":"number"},"eta":{"type":"number"},
    "ancestral_eta":{"type":"number"},"scheduler":{"type":"string"},
    "sigmas":{"type":"string"},"hires":{"type":"number"},"strength":{"type":"number"}}}'
}
value() { sed -n 's/.*"'"$1"'": "\([^"]*\)".*/\1/p' "$3" | head -n 1; }
case "$*" in
  "help json")
    for kind in tune fuse sample condition convert evaluate; do
      printf '%s"%s":' "${before:-{}" $kind; schema; before=,
    done
    echo "}"
    exit 0 ;;
  "sample --list-schedulers")
    printf -- '--scheduler  A1111    ComfyUI\neuler_a      Euler a  euler_ancestral\n'
    printf -- 'euler        Euler    euler\nddim         DDIM     ddim\n\n'
    printf -- '--sigmas  A1111\nkarras    Karras  x\n'
    exit 0 ;;
  "pictures --requests")
    while read -r line; do
      file=$(printf '%s' "$line" | sed -n 's/.*"file":"\([^"]*\)".*/\1/p')
      [ ! -e refuse ] || { echo "{\"error\":{\"kind\":\"format\",\"message\":\"$file is no picture\"}}"; continue; }
      case $line in
        *flood*) head -c 17000000 /dev/zero | tr '\0' x; echo ;;
        *garbled*) echo '{"width":'; echo '{"width":9,"height":9}' ;;
        *'"record"'*foreign*) echo '{"options":{"base":"/etc"},"scene":{},"program":"mos","left_out":[],"infotext":""}' ;;
        *'"record"'*) echo '{"options":{"seed":7},"scene":{},"program":"mos","left_out":[],"infotext":"a dog"}' ;;
        *'"job"'*unreadable*) echo '{"error":{"kind":"io","message":"it took too long"}}' ;;
        *'"job"'*impossible*) echo '{"problems":["it is impossible","it has no pictures"]}' ;;
        *'"thumbnail"'*)
          out=$(printf '%s' "$line" | sed -n 's/.*"out":"\([^"]*\)".*/\1/p')
          mkdir -p "${out%/*}"
          echo "$file" >>thumbnails-made
          echo small >"$out"
          echo '{"width":384,"height":100}' ;;
        *hostile*) echo '{"error":{"kind":"format","message":"it is no picture"}}' ;;
        *'"methods"'*) echo '{"fuse":{"gradient":["ridge"]}}' ;;
        *'"model"'*) echo '{"kind":"base","words":["<a>"],"size":64}' ;;
        *'"concept_file"'*) echo '{"words":["<a>"],"made_by":"mos"}' ;;
        *'"concept"'*) echo '{"summary":"0 pictures","problems":[],"warnings":[],"size":64,"pictures":[]}' ;;
        *) echo '{"width":2,"height":3}' ;;
      esac
    done
    exit 0 ;;
esac
echo "$$" >>"runs-$kind"
prompt=$(value prompt : "$3")
[ "$kind" = sample ] || prompt=$(value data : "$3")
out=$(value out : "$3")
echo '{"event":"progress","stage":"working","step":1,"total":2,"loss":0.5,"seconds":1.0,"left":1.0}' >&2
case $prompt in
  *fail*) echo '{"event":"error","kind":"format","message":"a file is bad","exit_code":3}' >&2; exit 3 ;;
  *die*) kill -9 $$ ;;
  *wait*)
    if [ ! -e go ]; then
      trap 'exit 130' TERM
      while [ ! -e go ] && [ -e "$3" ]; do sleep 0.05; done
    fi ;;
esac
if [ -n "$out" ]; then
  printf '\211PNG\r\n\032\n\000\000\000\rIHDR\000\000\000\002\000\000\000\003' >"$out"
  echo "$out"
fi
exit 0
)sh";

}  // namespace mos::studio
