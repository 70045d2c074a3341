#include "mos/session/from_picture.h"

#include <fmt/core.h>

#include <algorithm>

#include "mos/base/error.h"
#include "mos/base/log.h"
#include "mos/io/image.h"
#include "mos/region/foreign_record.h"
#include "mos/region/scene_text.h"
#include "mos/text/weighted_prompt.h"

namespace mos::session {

namespace fs = std::filesystem;

namespace {

FromPicture from_record(const PictureRecord& record) {
  FromPicture from{.base = record.base,
                   .read = record.read,
                   .device = record.device,
                   .dtype = record.dtype,
                   .concepts = record.concepts,
                   .scene = scene_to_json(record.scene),
                   .options = record.options};
  from.options.seed = record.seed;
  from.options.count = 1;
  // Prompts without marks say nothing about whether marks are read; new prompts may have some.
  const auto prompts = region::encoded_prompts_of(record.scene);
  const bool has_no_marks = std::all_of(prompts.begin(), prompts.end(), [](const auto& prompt) {
    return prompt.find_first_of("()[]{}\\+-") == prompt.npos && prompt.find("BREAK") == prompt.npos;
  });
  if (has_no_marks) from.options.sampler.plain_text = false;
  return from;
}

FromPicture from_foreign(const region::ForeignRecord& record, const fs::path& picture) {
  for (const auto& what : record.left_out) {
    log::warn(fmt::format("{}: left out: {}", picture.string(), what));
  }
  if (!record.model.empty()) {
    log::warn(fmt::format("{} was painted with the model {}; name that with --base",
                          picture.string(), record.model));
  }
  FromPicture from;
  from.scene = {{"prompt", record.prompt}, {"negative_prompt", record.negative_prompt}};
  from.scene.update(record.scene);
  from.loras = record.loras;
  from.options = record.options;
  from.left_out = record.left_out;
  if (!record.model.empty()) from.left_out.push_back("the model " + record.model);
  return from;
}

}  // namespace

FromPicture read_from_picture(const fs::path& picture) {
  const auto texts = io::read_image(picture).text;
  if (texts.contains(kRecordKeyword)) return from_record(read_record(picture));
  const auto foreign = region::read_foreign(texts, picture.string());
  if (foreign) return from_foreign(*foreign, picture);
  throw Error(ErrorKind::kFormat,
              fmt::format("{} does not say how it was made; expected a PNG of mos sample, A1111, "
                          "Forge, InvokeAI or ComfyUI",
                          picture.string()));
}

}  // namespace mos::session
