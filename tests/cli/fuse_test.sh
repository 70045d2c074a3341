#!/usr/bin/env bash
# mos fuse: what it refuses, and that the same concepts give the same files.
source "$(dirname -- "${BASH_SOURCE[0]}")/cli.sh"

first=$golden/fusion/edlora_0.safetensors
second=$golden/fusion/edlora_1.safetensors
fuse=(fuse --base "$tiny_base" --method weight)

refuses "fusing into nowhere" $exit_usage '--out' "${fuse[@]}" "$first"
refuses "fusing nothing" $exit_usage 'concept' "${fuse[@]}" --out output/model
refuses "fusing into a base that is not there" $exit_format "model base: .*no such folder" \
  fuse --out output/model "$first"
refuses "two concepts with one word" $exit_usage 'both use.*--rename' \
  "${fuse[@]}" --out output/model "$first" "$first"
refuses "a rename of a word that nobody has" $exit_usage '<nobody>.*there are .*<hina1>' \
  "${fuse[@]}" --out output/model --rename '<nobody>=<somebody>' "$first"
refuses "an unknown method" $exit_usage 'magic' \
  fuse --base "$tiny_base" --method magic --out output/model "$first"
refuses "an option of another method, with those that have it" $exit_usage \
  '--density is no option of the method weight, but of ties, dare, magnitude' \
  "${fuse[@]}" --density 0.5 --out output/model "$first"
refuses "steps of recording where nothing is recorded" $exit_usage '--steps is no option.*weight' \
  "${fuse[@]}" --steps 5 --out output/model "$first"
refuses "a negative share" $exit_usage 'none negative' \
  "${fuse[@]}" --weights 1,-1 --out output/model "$first" "$second"
refuses "fewer scales than concepts" $exit_usage 'unet-scales' \
  "${fuse[@]}" --out output/model --unet-scales 1 "$first" "$second"
refuses "a factor beyond all use" $exit_usage 'unet-scales is 1e\+38, expected.*10000' \
  "${fuse[@]}" --out output/model --unet-scales 1e38,1 "$first" "$second"
refuses "a share beyond all use" $exit_usage 'weights is 1e\+38, expected.*10000' \
  fuse --base "$tiny_base" --method sum --out output/model --weights 1e38,1 "$first" "$second"
for word in '<lora:x:1>' BREAK $'a\xc2\xa0b' '<|endoftext|>'; do
  refuses "a rename to $word" $exit_usage 'choose another word' \
    "${fuse[@]}" --out output/model --rename "<hina1>=$word" "$first"
done
refuses "a folder that cannot be written" $exit_format '/proc/model' \
  "${fuse[@]}" --out /proc/model "$first"
refuses "a LoRA file that cannot be written" $exit_format '/proc/lora' \
  "${fuse[@]}" --lora /proc/lora.safetensors --out output/model "$first"
refuses "a report that cannot be written" $exit_format '/proc/report' \
  "${fuse[@]}" --report /proc/report.json --out output/model "$first"
for entry in '{"lora_path": 5}' '{"lora_path": "a", "unet_alpha": "x"}' '{"concept_name": "a"}' \
  '{"lora_path": "a", "concept_name": 5}'; do
  echo "[$entry]" >input/list.json
  refuses "the list of concepts [$entry], by its name" $exit_format \
    'input/list.json: "[a-z_]+" is (5|"x"|missing)' \
    "${fuse[@]}" --out output/model --concept-list input/list.json
done
mkdir input/exists
refuses "a result that is there already" $exit_usage 'exists.*--overwrite' \
  "${fuse[@]}" --out input/exists "$first"

echo '{"methd": "weight"}' >input/options.json
refuses "an unknown option in a file, with the nearest" $exit_usage 'methd.*method' \
  "${fuse[@]}" --config input/options.json --out output/model "$first"
echo '{"method": ' >input/options.json
refuses "an option file that is no JSON" $exit_format 'options.json' \
  "${fuse[@]}" --config input/options.json --out output/model "$first"
echo '{"density": 0.5}' >input/options.json
refuses "an option of another method in a file" $exit_usage 'density.*no option of the method weight' \
  "${fuse[@]}" --config input/options.json --out output/model "$first"
echo '{"method": "magic"}' >input/options.json
refuses "an unknown method in a file" $exit_usage \
  'options.json: "method" is "magic", expected one of gradient' fuse --base "$tiny_base" \
  --config input/options.json --out output/model "$first"
echo '{"method": "ties", "density": 0.5}' >input/options.json
accepts "a flag overrules the method of a file, and other options hold" fuse --base "$tiny_base" \
  --config input/options.json --method dare --lora output/dare.safetensors "$first"
holds "the LoRA says so" grep -aq 'method..:..dare.*density..:0.5' output/dare.safetensors
echo '{"method": "gradient", "steps": "many"}' >input/options.json
refuses "an option of another type" $exit_usage 'steps' \
  fuse --base "$tiny_base" --config input/options.json --out output/model "$first"

for folder in one two; do
  accepts "fusion $folder" "${fuse[@]}" --out "output/$folder" "$first" "$second" \
    --lora "output/$folder.safetensors" --report "output/$folder.json"
done
holds "the same concepts give the same model" diff -r output/one output/two
holds "the same concepts give the same LoRA" cmp output/one.safetensors output/two.safetensors
accepts "a trial takes every concept, wherever its switch stands" \
  "${fuse[@]}" --dry-run "$first" "$second" \
  --lora output/trial.safetensors
holds "no concept is taken for the switch's value" test "$(grep -c 'keys matched' <<<"$err")" -eq 2
estimates "a trial of fusion" "${fuse[@]}" --out output/trial "$first" "$second"
# An embedding is recorded on the layers of the others as every concept is.
"$mos" convert "$first" --only words --out input/words.safetensors >/dev/null 2>&1
recorded=(fuse --base "$tiny_base" --method gradient --steps 3 --samples 1 --size 64
  --lora output/trial.safetensors --dry-run)
accepts "a trial with an embedding" "${recorded[@]}" "$second" input/words.safetensors
holds "measures the steps of both" grep -q 'measured on 2 of 6 denoising steps' <<<"$out"
accepts "a trial with an embedding in front" "${recorded[@]}" input/words.safetensors "$second"
holds "measures the same" grep -q 'measured on 2 of 6 denoising steps' <<<"$out"
accepts "the fused model is a base model" fuse --base output/one --method weight \
  --lora output/three.safetensors "$golden/fusion/edlora_2.safetensors"
accepts "a folder may end in a slash, and the report may be named inside it" \
  "${fuse[@]}" --out output/slash/ --report ./output/slash/report.json "$first"
holds "the report is there" test -s output/slash/report.json
refuses "a word that the base model has already" $exit_usage 'base model' \
  fuse --base output/one --method weight --lora output/four.safetensors "$first"
distill=(fuse --base "$tiny_base" --method distill --distill-steps 4 --lessons 2 --lesson-steps 2
  --steps 2 --size 64)
accepts "distillation says how long it takes" "${distill[@]}" --dry-run "$first" "$second" \
  --lora output/distilled.safetensors
accepts "and brings the concepts nearer" "${distill[@]}" "$first" "$second" \
  --lora output/distilled.safetensors
holds "how near, it says" grep -q 'layer by layer, .* distilled' <<<"$out"
holds "and so does the report" grep -q '"distillation"' output/distilled.fusion_report.json
accepts "distillation that is no gain" "${distill[@]}" --distill-rate 10 "$first" "$second" \
  --lora output/no-gain.safetensors
holds "is said to be none" grep -q 'came no nearer' <<<"$err"
accepts "a concept alone" "${distill[@]}" "$first" --lora output/alone.safetensors
holds "is said to have nothing to learn" grep -q 'nothing was distilled' <<<"$err"
refuses "a lesson without the concept" $exit_usage '<TOK>' "${distill[@]}" \
  --lesson-prompts "a dog" "$first" "$second" --lora output/none.safetensors
refuses "distillation of another method" $exit_usage 'distill' fuse --base "$tiny_base" \
  --method gradient --distill-steps 4 "$first" --lora output/none.safetensors
echo "a dog" >input/captions.txt
captions=(fuse --base "$tiny_base" --method custom_diffusion --captions input/captions.txt)
accepts "captions come from a file" "${captions[@]}" --lora output/captions.safetensors "$first"
refuses "captions that are not there" $exit_format 'none.txt' \
  fuse --base "$tiny_base" --method custom_diffusion --captions input/none.txt \
  --lora output/none.safetensors "$first"
refuses "a result in the place of its captions" $exit_usage 'captions' \
  "${captions[@]}" --report input/captions.txt --lora output/none.safetensors "$first"
accepts "fuse --help lists the methods" fuse --help
for method in gradient distill lbfgs weight sum concat svd ties dare magnitude custom_diffusion ssr iteris \
  loraclr; do
  holds "the help has the method $method" grep -q "^  $method " <<<"$out"
done
finish
