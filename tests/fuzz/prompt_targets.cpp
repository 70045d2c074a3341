#include <cmath>

#include "mos/region/foreign_record.h"
#include "mos/region/region.h"
#include "mos/text/prompt_tags.h"
#include "mos/text/weighted_prompt.h"
#include "tests/fuzz/fuzz.h"

namespace mos::fuzz {
namespace {

void run_prompt(std::string_view bytes) {
  const auto taken = text::take_lora_tags(bytes);
  const auto chosen = text::choose(taken.prompt, 7);
  promise(text::choose(taken.prompt, 7) == chosen, "a choice that is another one the second time");
  const auto parts = text::parse_weights(chosen);
  promise(!parts.empty(), "a prompt without parts");
  for (const auto& part : parts) promise(!part.empty(), "a part without text");
}

std::vector<std::string> prompt_seeds() {
  return {
      "a (cat:1.2), [dog] {red|{dark|light} blue} BREAK <lora:x:0.8> c\\+\\+ (two words)++ sea--"};
}

void run_foreign(std::string_view bytes) {
  const std::string text(bytes);
  const auto record = text.starts_with("{\"3") ? region::read_comfyui_graph(text, "input")
                      : text.starts_with('{')  ? region::read_invokeai_metadata(text, "input")
                                               : region::read_parameters(text, "input");
  promise(std::isfinite(record.options.guidance_scale), "a guidance that is no number");
}

std::vector<std::string> foreign_seeds() {
  return {
      "a cat\nNegative prompt: bad\nSteps: 20, Sampler: DPM++ 2M Karras, CFG scale: 7, Seed: 1, "
      "Size: 512x512, Lora hashes: \"a: b\", Version: 1",
      R"({"3":{"class_type":"KSampler","inputs":{"seed":5,"steps":20,"cfg":8,"sampler_name":)"
      R"("euler","scheduler":"normal","positive":["6",0],"negative":["6",0],"model":["4",0]}},)"
      R"("6":{"class_type":"CLIPTextEncode","inputs":{"text":"a"}}})",
      "a cat\na dog\nSteps: 9, forge_couple: True, forge_couple_mode: Advanced, "
      "forge_couple_mapping: \"[[0, 0.5, 0, 1, 1.0], [0.5, 1, 0, 1, 0.3]]\"",
      R"({"positive_prompt":"sea","width":64,"height":32,"scheduler":"euler_k","loras":[{"model":)"
      R"({"name":"x"},"weight":0.5}],"canvas_v2_metadata":{"regionalGuidance":[{"name":"a",)"
      R"("positivePrompt":"b","position":{"x":1,"y":2},"objects":[{"type":"rect","rect":{"x":0,)"
      R"("y":0,"width":9,"height":9}},{"type":"brush_line","strokeWidth":3,"points":[1,2,3,4]}]}]}})"};
}

}  // namespace

std::vector<Target> prompt_targets() {
  return {
      {"prompt",
       run_prompt,
       prompt_seeds,
       {"(", ")", "[", "]", "{", "}", "|", "\\", ":", "1.2", "BREAK", "++", "--", "<lora:", ">"}},
      {"foreign",
       run_foreign,
       foreign_seeds,
       {"Steps: ", ", ", ": ", "\"", "\n", "{", "[", "\"3\"", "KSampler", "1e999", "Size: 1x"}}};
}

}  // namespace mos::fuzz
