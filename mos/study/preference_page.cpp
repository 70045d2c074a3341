#include <fmt/core.h>

#include "mos/base/base64.h"
#include "mos/base/file.h"
#include "mos/base/text.h"
#include "mos/eval/page.h"
#include "mos/io/image.h"
#include "mos/study/cells.h"
#include "mos/study/preference.h"

namespace mos::study {
namespace {

constexpr const char* kBody = R"(
<div id="pair" class="row"></div>
<p id="prompt"></p>
<div id="questions"></div>
<p><button id="back">back</button> <span id="place"></span></p>
<p><button id="export">export the answers</button> Answers stay in this browser until then.</p>
)";

/// Nothing here knows how a picture was made: A and B are drawn when the page is written, left and
/// right when it is opened.
constexpr const char* kScript = R"(<script>
"use strict";
const key = "mixofshow-preference-" + study.digest;
const questions = {
  image: "Which of the two looks more like the thing in the first picture?",
  text: "Which of the two shows better what the text says?",
};
function shuffled(list) {
  const copy = list.slice();
  for (let i = copy.length - 1; i > 0; --i) {
    const j = Math.floor(Math.random() * (i + 1));
    [copy[i], copy[j]] = [copy[j], copy[i]];
  }
  return copy;
}
function fresh() {
  const digits = new Uint32Array(4);
  crypto.getRandomValues(digits);
  return {
    visit: Array.from(digits, (d) => d.toString(16).padStart(8, "0")).join(""),
    order: shuffled(study.pairs.map((p) => p.id)),
    left: Object.fromEntries(study.pairs.map((p) => [p.id, Math.random() < 0.5 ? "a" : "b"])),
    answers: {}, at: 0,
  };
}
function load() {
  try { return JSON.parse(localStorage.getItem(key)) || fresh(); } catch { return fresh(); }
}
const state = load();
function save() { try { localStorage.setItem(key, JSON.stringify(state)); } catch { /* this visit alone */ } }
const byId = Object.fromEntries(study.pairs.map((p) => [p.id, p]));
function figure(source, caption) {
  const box = document.createElement("figure");
  const picture = document.createElement("img");
  picture.src = source; picture.alt = caption;
  const line = document.createElement("figcaption");
  line.textContent = caption;
  box.append(picture, line);
  return box;
}
function show() {
  const place = document.getElementById("place");
  const done = state.at >= state.order.length;
  place.textContent = done ? "That was all of them: thank you. Please export the answers."
                           : (state.at + 1) + " of " + state.order.length;
  const row = document.getElementById("pair"), asked = document.getElementById("questions");
  row.replaceChildren(); asked.replaceChildren();
  document.getElementById("prompt").textContent = "";
  if (done) return;
  const pair = byId[state.order[state.at]];
  const left = state.left[pair.id], right = left === "a" ? "b" : "a";
  row.append(figure(pair.own, "the thing"), figure(pair[left], "left"), figure(pair[right], "right"));
  document.getElementById("prompt").textContent = "Text: " + pair.prompt;
  for (const [name, text] of Object.entries(questions)) {
    const line = document.createElement("p");
    line.append(text + " ");
    for (const [side, letter] of [["left", left], ["right", right]]) {
      const button = document.createElement("button");
      button.textContent = side;
      button.disabled = (state.answers[pair.id] || {})[name] === letter;
      button.onclick = () => answer(pair.id, name, letter);
      line.append(button, " ");
    }
    asked.append(line);
  }
}
function answer(id, question, letter) {
  state.answers[id] = Object.assign({}, state.answers[id], { [question]: letter });
  if (Object.keys(state.answers[id]).length === Object.keys(questions).length) ++state.at;
  save(); show();
}
document.getElementById("back").onclick = () => { state.at = Math.max(0, state.at - 1); save(); show(); };
document.getElementById("export").onclick = () => {
  const text = JSON.stringify({ study: study.digest, visit: state.visit, answers: state.answers }, null, 2);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  link.download = "answers-" + state.visit.slice(0, 8) + ".json";
  link.click();
};
save(); show();
</script>
)";

std::string data_of(const std::string& png) {
  return "data:image/png;base64," + base64_encode(png);
}

/// JSON that can stand in a script: nothing in it ends one.
std::string in_script(const Json& json) { return replaced(json_text(json), "<", "\\u003c"); }

}  // namespace

PreferencePage preference_page(const std::vector<Pair>& pairs) {
  Json shown = Json::array();
  for (const auto& pair : pairs) {
    shown.push_back({{"id", pair.id},
                     {"prompt", pair.prompt},
                     {"own", data_of(io::encode_png(pair.own))},
                     {"a", data_of(read_text_file(pair.picture_a))},
                     {"b", data_of(read_text_file(pair.picture_b))}});
  }
  const auto digest = digest_of(shown);
  eval::Page page("Which of the two?");
  page.paragraph(
      "The first picture shows a thing. The two others were painted by programs that have seen it; "
      "please say for each pair which one is better.");
  page.raw(kBody);
  page.raw("<script>const study = " + in_script({{"digest", digest}, {"pairs", shown}}) +
           ";</script>\n");
  page.raw(kScript);
  return {page.text(), digest};
}

}  // namespace mos::study
