#!/usr/bin/env bash
# mos tune --check: folders as kohya, OneTrainer, Windows and macOS leave them, and captions as
# editors save them, are read as they are meant, or what is not read is said.
source "$(dirname -- "${BASH_SOURCE[0]}")/cli.sh"

# A disc of 32x32 pixels and its mask, made by hand.
disc=iVBORw0KGgoAAAANSUhEUgAAACAAAAAgCAIAAAD8GO2jAAAAWUlEQVR42mP48OEOTRHDqAWjFsDQCRs5TEQdC7AaTbw1\
DJQYTYw1DFQxHY8dA2QBGabjsmMgLCDbdKx2jFowagFNLBj6GW1YFHb0qA/oUaPRqU4ebRcNeQsAr1q0ty9LHyYAAAAASUVORK5CYII=
shape=iVBORw0KGgoAAAANSUhEUgAAACAAAAAgCAAAAABWESUoAAAAOklEQVR42mNgGH7gPwQQkMal5D8qICSPqYKQgv//CaggpOD/\
fwIqhocCygOKCpFFOD0QTlFEpMlBCwAAH2Or2tuChwAAAABJRU5ErkJggg==
picture() { base64 -d <<<"$disc" >"$1"; }
mask() { base64 -d <<<"$shape" >"$1"; }

# says PROMISE PATTERN: the last command said so, on stdout or stderr.
says() { holds "$1" grep -qE -- "$2" <<<"$out$err"; }
is_silent() { holds "$1" test -z "$err"; }

data=input/data
fresh() {
  rm -rf "$data"
  mkdir -p "$data/images" "$data/captions"
  picture $data/images/00.png
  echo '{"words": ["<q1>", "<q2>"], "class_word": "bear"}' >$data/concept.json
}
check=(tune --data "$data" --check --base "$tiny_base")

# kohya and OneTrainer
mkdir -p input/kohya/{"10_sks bear","5_sks bear"}
picture "input/kohya/10_sks bear/00.png"
picture "input/kohya/10_sks bear/01.png"
picture "input/kohya/5_sks bear/00.png"
printf 'a photo of sks bear' >"input/kohya/10_sks bear/00.txt"
printf 'sks bear at sea' >"input/kohya/5_sks bear/00.caption"
accepts "kohya's folders" tune --data input/kohya --check --words "<a1> <a2>" --base "$tiny_base"
says "with captions and repeats" '3 pictures, 2 with a caption; 10_sks bear: 2x; 5_sks bear: 1x'
says "and the name of the concept" '"sks bear" stands for the concept'
is_silent "nothing of them is left"
accepts "one of kohya's folders" tune --data "input/kohya/10_sks bear" --check
says "with its captions" '2 pictures, 1 with a caption'
mkdir input/onetrainer
picture input/onetrainer/00.png
mask input/onetrainer/00-masklabel.png
printf 'a <TOK> in the snow' >input/onetrainer/00.txt
accepts "OneTrainer's folder" tune --data input/onetrainer --check
says "has one picture with its mask" '1 picture, 1 with a mask, 1 with a caption, nothing wrong'
accepts "a check of a run whose base is not there" tune --data input/onetrainer --check \
  --words "<bear1> <bear2>" --class-word bear --out output/bear.safetensors
says "says that it was not looked at" 'warning: no base model was looked at'
touch input/onetrainer/{extra.npz,dataset.toml}
accepts "files beside them" tune --data input/onetrainer --check
says "are named" 'warning: not read: dataset.toml, extra.npz'

# what systems leave behind
fresh
for part in . images captions; do touch $data/$part/{Thumbs.db,desktop.ini,.DS_Store,._00.png}; done
accepts "system files" "${check[@]}"
is_silent "are passed over"

# captions as editors save them
fresh
printf '\xef\xbb\xbf<TOK>, snow\r\n' >$data/captions/00.txt
accepts "a byte order mark and CR LF" "${check[@]}"
is_silent "leave no trace"
printf '\n\na <TOK> in the snow\n' >$data/captions/00.txt
accepts "the first line with text is the caption" "${check[@]}"
is_silent "which needs no word"
printf 'a <TOK>\nred hat, blue coat\n' >$data/captions/00.txt
accepts "a second line" "${check[@]}"
says "is said" 'warning: .*only the first is read: captions/00.txt'
refuses "every line needs the concept where one is drawn" $exit_usage 'captions of 00 lack' \
  "${check[@]}" --caption-lines any
accepts "lines can be joined" "${check[@]}" --caption-lines all
is_silent "without a word"
printf '\xff\xfe<\0T\0O\0K\0>\0' >$data/captions/00.txt
run_mos "${check[@]}"
holds "UTF-16 is refused" test "$status" -eq $exit_format
says "by name, with the way to mend it" 'captions/00.txt: is in UTF-16.*iconv'
refuses "with a last line of its own, which repeats none" $exit_format \
  'pictures in input/data cannot be used: 1 problem, listed on stdout; mend it and check again$' \
  "${check[@]}"
run_mos "${check[@]}" --progress json
says "which programs get as the error" '"event":"error",.*1 problem'
printf 'caf\xe9 \x93<TOK>\x94' >$data/captions/00.txt
run_mos "${check[@]}"
holds "Latin-1 is refused" test "$status" -eq $exit_format
says "by name, with the byte" 'captions/00.txt: is not in UTF-8: line 1 has the byte 0xe9'
refuses "as it is when tuning" $exit_format 'captions/00.txt' tune --data "$data" \
  --base "$tiny_base" --out output/a.safetensors
long=$(printf 'cat %.0s' {1..80})
printf '<TOK> %s' "$long" >$data/captions/00.txt
accepts "a caption that is too long" "${check[@]}"
says "is said" 'warning: captions are longer than the 77 tokens.*00 \(84\)'
printf '%s <TOK>' "$long" >$data/captions/00.txt
refuses "a concept that is cut off" $exit_usage 'captions of 00.*77 tokens' "${check[@]}"
refuses "before tuning too" $exit_usage 'captions of 00.*77 tokens' tune --data "$data" \
  --base "$tiny_base" --out output/a.safetensors
printf 'a <TOK>, (snow:1.3) <lora:x:1>' >$data/captions/00.txt
accepts "what is syntax in prompts" "${check[@]}"
says "is said" 'captions of 00: <lora:x:1>, \(snow:1.3\) are read as plain text.*leave out'
holds "without advice for painting" bash -c '! grep -q -e --concept' <<<"$err"

# words
fresh
rm $data/concept.json
tune=(tune --data "$data" --base "$tiny_base" --size 64 --steps 1 --batch 1 --rank 1
  --preview-pictures 0 --dtype float32)
accepts "words with a blank between them" "${tune[@]}" --words "<potter1> <potter2>" \
  --out output/blank.safetensors
accepts "words with a comma between them" "${tune[@]}" --words "<potter1>,<potter2>" \
  --out output/comma.safetensors
run_mos inspect output/blank.safetensors
says "are two words" '<potter2>'
holds "and both ways the same" cmp output/blank.safetensors output/comma.safetensors
accepts "which a prompt can hold" sample --base "$tiny_base" --concept output/blank.safetensors \
  --prompt "a <potter1> <potter2>" --steps 1 --height 64 --width 64 --out output/x.png
refuses "a word given twice" $exit_usage '<a1> is given twice' "${tune[@]}" --words "<a1> <a1>" \
  --out output/twice.safetensors

# names that would speak to the terminal
esc=$'\x1b[31m\nx'
mkdir -p "input/odd/10_sks $esc"
picture "input/odd/10_sks $esc/00.png"
accepts "a folder with control characters in its name" tune --data input/odd --check
says "whose name is shown and not sent" 'sks \\x1b\[31m\\x0ax" stands for the concept'
mv "input/odd/10_sks $esc/00.png" "input/odd/10_sks $esc/$esc.bmp"
run_mos tune --data input/odd --check
says "nor is that of a picture that is refused" '\\x1b\[31m\\x0ax.bmp: is a picture of a kind'
holds "in a line" bash -c '! grep -q $'"'\\x1b'" <<<"$out$err"
cp output/blank.safetensors "output/$esc.safetensors"
accepts "a concept file of such a name" sample --base "$tiny_base" --prompt "a <potter1> <potter2>" \
  --concept "output/$esc.safetensors" --steps 1 --height 64 --width 64 --out output/x.png
says "says so of its keys" '\\x1b\[31m\\x0ax.*keys? matched'

# a whole command
accepts "--check takes a whole command" "${tune[@]}" --words "<a1> <a2>" --out output/y.safetensors \
  --check
holds "and writes nothing" test ! -e output/y.safetensors
refuses "and checks what it names" $exit_usage '.safetensors' "${tune[@]}" --out output/y.png --check
accepts "the base model may be missing" tune --data "$data" --words "<a1>" --check
refuses "unless it is named" $exit_format 'absent' tune --data "$data" --words "<a1>" --check \
  --base input/absent
finish
