#include "mos/region/foreign_record.h"

#include <fmt/core.h>

#include <algorithm>
#include <set>

#include "mos/base/error.h"
#include "mos/base/text.h"
#include "mos/region/a1111_sampling.h"
#include "mos/region/foreign_options.h"

namespace mos::region {
namespace {

using RecordFields = std::vector<std::pair<std::string, std::string>>;

constexpr std::string_view kNegative = "Negative prompt: ";
constexpr const char* kDenoising = "Denoising strength";

/// The place behind the text in quotes that begins at `at`.
std::size_t end_of_quoted(std::string_view line, std::size_t at) {
  for (++at; at < line.size() && line[at] != '"'; ++at) {
    if (line[at] == '\\') ++at;
  }
  return std::min(at + 1, line.size());
}

/// A1111 quotes as JSON does; what is no JSON is taken as it stands.
std::string unquoted(std::string_view text) {
  std::string value;
  try {
    if (assign_json(parse_json(text, "a quoted value"), value)) return value;
  } catch (const Error&) {
  }
  return std::string(text);
}

/// `Key: value, Key: "quoted, value", …` as A1111 writes it.
RecordFields split_fields(std::string_view line) {
  RecordFields fields;
  std::size_t at = 0;
  while (at < line.size()) {
    const auto colon = line.find(": ", at);
    if (colon == line.npos) break;
    const auto key = trimmed(std::string(line.substr(at, colon - at)));
    at = colon + 2;
    std::string value;
    if (at < line.size() && line[at] == '"') {
      const auto end = end_of_quoted(line, at);
      value = unquoted(line.substr(at, end - at));
      at = std::min(line.find(',', end), line.size());
    } else {
      const auto end = std::min(line.find(',', at), line.size());
      value = trimmed(std::string(line.substr(at, end - at)));
      at = end;
    }
    fields.emplace_back(key, value);
    if (at < line.size()) ++at;
  }
  return fields;
}

void take_size(const std::string& text, ForeignRecord& record) {
  const auto cross = text.find('x');
  if (cross == text.npos) {
    record.left_out.push_back(fmt::format("Size is \"{}\"", text));
    return;
  }
  take_number(text.substr(0, cross), record.options.width, "Size", record);
  take_number(text.substr(cross + 1), record.options.height, "Size", record);
}

void take_upscaler(const std::string& name, ForeignRecord& record) {
  auto& upscale = record.options.pictures.hires_upscale;
  if (name == "Lanczos") {
    upscale = "lanczos";
  } else if (name != "Latent") {
    record.left_out.push_back(
        fmt::format("the upscaler {} is not here; {} is taken", name, upscale));
  }
}

void take_field(const std::string& key, const std::string& value, ForeignRecord& record) {
  auto& options = record.options;
  static const std::set<std::string> says_nothing = {"Version",  "Model hash",  "VAE",
                                                     "VAE hash", "Lora hashes", "TI hashes"};
  if (key == "Steps") return take_number(value, options.steps, key, record);
  if (key == "CFG scale") return take_number(value, options.guidance_scale, key, record);
  if (key == "Seed") return take_number(value, options.seed, key, record);
  if (key == "Clip skip") return take_number(value, options.sampler.clip_skip, key, record);
  if (key == "Size") return take_size(value, record);
  if (key == "Hires upscale") return take_number(value, options.pictures.hires, key, record);
  if (key == "Hires upscaler") return take_upscaler(value, record);
  if (key == "Model") {
    record.model = value;
  } else if (key == "RNG") {
    // "GPU" and "NV", which draws the same on a CPU, are the default here.
    if (value == "CPU") options.sampler.noise = "cpu";
  } else if (!says_nothing.contains(key) && !key.starts_with("forge_couple") && key != kDenoising &&
             !is_a1111_sampling(key)) {
    record.left_out.push_back(fmt::format("{}: {}", key, value));
  }
}

/// A1111 writes the strength of a second pass and that of img2img under one name.
void take_strength(const std::string& value, ForeignRecord& record) {
  auto& pictures = record.options.pictures;
  if (pictures.hires != 1.0) return take_number(value, pictures.hires_strength, kDenoising, record);
  record.left_out.push_back(fmt::format(
      "the picture that it began with; begin with one by --init FILE --strength {}", value));
}

}  // namespace

ForeignRecord read_parameters(const std::string& text, const std::string& origin) {
  const auto steps = text.rfind("Steps: ");
  const auto line = steps == text.npos ? text.npos : text.rfind('\n', steps);
  if (steps == text.npos || (line == text.npos && steps != 0)) {
    throw Error(ErrorKind::kFormat,
                origin + " has \"parameters\" without a line that begins with \"Steps: \"");
  }
  const auto words = line == text.npos ? std::string() : text.substr(0, line);
  ForeignRecord record;
  const auto negative = words.rfind("\n" + std::string(kNegative));
  if (words.starts_with(kNegative)) {
    record.negative_prompt = words.substr(kNegative.size());
  } else {
    record.prompt = words.substr(0, negative);
    if (negative != words.npos) {
      record.negative_prompt = words.substr(negative + 1 + kNegative.size());
    }
  }
  record.options.sampler.noise = "a1111";
  record.options.sampler.sigmas = "";
  const auto fields = split_fields(std::string_view(text).substr(steps));
  A1111Fields by_key;
  for (const auto& [key, value] : fields) {
    take_field(key, value, record);
    by_key[key] = value;
  }
  take_a1111_sampling(by_key, record);
  if (by_key.contains(kDenoising)) take_strength(by_key.at(kDenoising), record);
  if (by_key.contains("forge_couple")) take_forge_couple(by_key, record);
  return record;
}

std::string parameters_text(const Scene& scene, const SampleOptions& options, std::uint64_t seed,
                            const std::string& version) {
  std::string text = scene.prompt;
  if (!scene.negative_prompt.empty())
    text += fmt::format("\n{}{}", kNegative, scene.negative_prompt);
  text += fmt::format("\nSteps: {}, {}", options.steps, a1111_sampler(options));
  text += fmt::format(", CFG scale: {}, Seed: {}, Size: {}x{}", options.guidance_scale, seed,
                      options.width, options.height);
  if (options.sampler.clip_skip != 1) {
    text += fmt::format(", Clip skip: {}", options.sampler.clip_skip);
  }
  if (options.sampler.noise == "cpu") text += ", RNG: CPU";
  text += a1111_sampler_extras(options);
  return text + fmt::format(", Version: mos {}", version);
}

std::optional<ForeignRecord> read_foreign(const std::map<std::string, std::string>& texts,
                                          const std::string& origin) {
  if (const auto found = texts.find("parameters"); found != texts.end()) {
    return read_parameters(found->second, origin);
  }
  if (const auto found = texts.find("invokeai_metadata"); found != texts.end()) {
    return read_invokeai_metadata(found->second, "invokeai_metadata of " + origin);
  }
  if (const auto found = texts.find("prompt"); found != texts.end()) {
    return read_comfyui_graph(found->second, "the graph in " + origin);
  }
  return std::nullopt;
}

}  // namespace mos::region
