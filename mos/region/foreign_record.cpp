#include "mos/region/foreign_record.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "mos/base/error.h"
#include "mos/base/text.h"
#include "mos/region/a1111_sampling.h"
#include "mos/region/foreign_options.h"
#include "mos/region/region_mask.h"
#include "mos/text/foreign_prompt.h"

namespace mos::region {
namespace {

using RecordFields = std::vector<std::pair<std::string, std::string>>;

constexpr std::string_view kNegative = "Negative prompt: ";
constexpr const char *kDenoising = "Denoising strength", *kResize = "Hires resize",
                     *kUpscale = "Hires upscale", *kUpscaler = "Hires upscaler";
constexpr const char* kLanczos = "lanczos";  // as we call it

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

/// The place behind the object or array that begins at `at`, or npos where nothing closes it.
std::size_t end_of_nested(std::string_view line, std::size_t at) {
  int open = 0;
  while (at < line.size()) {
    const char c = line[at];
    if (c == '"') {
      at = end_of_quoted(line, at);
      continue;
    }
    if (c == '{' || c == '[') ++open;
    ++at;
    if ((c == '}' || c == ']') && --open == 0) return at;
  }
  return line.npos;
}

/// The place behind the value that begins at `at`. Extensions write JSON without quotes; where it
/// does not end, nothing in the line is taken for it any more.
std::size_t end_of_value(std::string_view line, std::size_t at, bool& has_nested) {
  const auto comma = [line](std::size_t from) {
    return std::min(line.find(',', from), line.size());
  };
  const char first = at < line.size() ? line[at] : ' ';
  if (first == '"') return comma(end_of_quoted(line, at));
  if (!has_nested || (first != '{' && first != '[')) return comma(at);
  const auto nested = end_of_nested(line, at);
  has_nested = nested != line.npos;
  return comma(has_nested ? nested : at);
}

/// `Key: value, Key: "quoted, value", …` as A1111 writes it.
RecordFields split_fields(std::string_view line) {
  RecordFields fields;
  bool has_nested = true;
  std::size_t at = 0;
  while (at < line.size()) {
    const auto colon = line.find(": ", at);
    if (colon == line.npos) break;
    const auto key = trimmed(std::string(line.substr(at, colon - at)));
    at = colon + 2;
    const auto end = end_of_value(line, at, has_nested);
    const auto value = trimmed(line.substr(at, end - at));
    fields.emplace_back(key, value.starts_with('"') ? unquoted(value) : value);
    at = std::min(end + 1, line.size());
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
    upscale = kLanczos;
  } else if (name != "Latent") {
    record.left_out.push_back(
        fmt::format("the upscaler {} is not here; {} is taken", name, upscale));
  }
}

void take_field(const std::string& key, const std::string& value, ForeignRecord& record) {
  auto& options = record.options;
  // Names of networks are looked at together; the others are of files, people and what prompts
  // were made from.
  static const std::set<std::string> read_elsewhere = {
      "Model hash",      "VAE",       "VAE hash",     "Lora hashes", "TI hashes",
      "Hashes",          "Version",   "User",         "Template",    "Negative Template",
      "Wildcard prompt", "Batch pos", "Created Date", "Batch size"};
  if (key == "Steps") return take_number(value, options.steps, key, record);
  if (key == "CFG scale") return take_number(value, options.guidance_scale, key, record);
  if (key == "Seed") return take_number(value, options.seed, key, record);
  if (key == "Clip skip") return take_number(value, options.sampler.clip_skip, key, record);
  if (key == "Size") return take_size(value, record);
  if (key == kUpscale) return take_number(value, options.pictures.hires, key, record);
  if (key == kUpscaler) return take_upscaler(value, record);
  if (key == "Model") {
    record.model = value;
  } else if (key == "RNG") {
    // "GPU" and "NV", which draws the same on a CPU, are the default here.
    if (value == "CPU") options.sampler.noise = "cpu";
    static const std::set<std::string> known = {"CPU", "GPU", "NV"};
    if (!known.contains(value)) record.left_out.push_back(fmt::format("{}: {}", key, value));
  } else if (key == "Emphasis" && value == "Original") {
    // as here
  } else if (!read_elsewhere.contains(key) && !key.starts_with("forge_couple") &&
             key != kDenoising && key != kResize && !is_a1111_sampling(key)) {
    record.left_out.push_back(fmt::format("{}: {}", key, value));
  }
}

/// The size of a second pass, which may say one side alone, as a factor on the picture's.
void take_resize(const std::string& text, ForeignRecord& record) {
  const auto cross = text.find('x');
  const auto side = [](const std::string& digits) {
    return number_in<double>(digits).value_or(-1);
  };
  const double width = side(text.substr(0, cross));
  const double height = cross == text.npos ? -1 : side(text.substr(cross + 1));
  const double by_width = width / static_cast<double>(record.options.width);
  const double by_height = height / static_cast<double>(record.options.height);
  const bool are_equal = by_width == by_height || width == 0 || height == 0;
  const double factor = std::max(by_width, by_height);
  if (width >= 0 && height >= 0 && are_equal && std::isfinite(factor) && factor > 1.0) {
    record.options.pictures.hires = factor;
  } else {
    record.left_out.push_back(fmt::format("{}: {}", kResize, text));
  }
}

/// A1111 writes the strength of a second pass and that of img2img under one name.
void take_strength(const std::string& value, const A1111Fields& fields, ForeignRecord& record) {
  auto& pictures = record.options.pictures;
  if (pictures.hires == 1.0 && (fields.contains(kResize) || fields.contains("Hires steps"))) {
    record.left_out.push_back(fmt::format("{} {} of a second pass", kDenoising, value));
    return;
  }
  if (pictures.hires != 1.0) return take_number(value, pictures.hires_strength, kDenoising, record);
  record.left_out.push_back(fmt::format(
      "the picture that it began with; begin with one by --init FILE --strength {}", value));
}

/// Tags of files, which are no part of what is read as a text, stay where they are or come last.
std::string prompt_from_a1111(std::string_view prompt) {
  const auto taken = text::take_lora_tags(prompt);
  auto text = text::from_a1111(taken.prompt);
  if (text == taken.prompt) return std::string(prompt);
  for (const auto& tag : taken.loras) text += fmt::format(" <lora:{}:{}>", tag.name, tag.scale);
  return text;
}

}  // namespace

ForeignRecord read_parameters(const std::string& text, const std::string& origin) {
  const auto line = text.rfind("\nSteps: ");
  if (line == text.npos && !text.starts_with("Steps: ")) {
    throw Error(ErrorKind::kFormat,
                origin + " has \"parameters\" without a line that begins with \"Steps: \"");
  }
  const auto steps = line == text.npos ? 0 : line + 1;
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
  if (by_key.contains(kResize)) take_resize(by_key.at(kResize), record);
  if (by_key.contains(kDenoising)) take_strength(by_key.at(kDenoising), by_key, record);
  name_a1111_networks(by_key, record);
  take_a1111_tags(record);
  if (by_key.contains("forge_couple")) take_forge_couple(by_key, record);
  if (!record.scene.contains("regions")) name_joined_prompts(record);
  rewrite_prompts(record, prompt_from_a1111, text::from_a1111);
  return record;
}

std::string parameters_text(const Scene& scene, const SampleOptions& options, std::uint64_t seed,
                            const std::string& version) {
  const auto whole = with_root_prompts(scene);
  const auto in_theirs = [&options](const std::string& prompt) {
    return text::to_a1111(prompt, options.sampler.plain_text);
  };
  std::string text = in_theirs(whole.prompt);
  if (!whole.negative_prompt.empty())
    text += fmt::format("\n{}{}", kNegative, in_theirs(whole.negative_prompt));
  text += fmt::format("\nSteps: {}, {}", options.steps, a1111_sampler(options));
  text += fmt::format(", CFG scale: {}, Seed: {}, Size: {}x{}", options.guidance_scale, seed,
                      options.width, options.height);
  const auto& pictures = options.pictures;
  if (pictures.hires != 1.0) text += fmt::format(", {}: {}", kDenoising, pictures.hires_strength);
  if (options.sampler.clip_skip != 1) {
    text += fmt::format(", Clip skip: {}", options.sampler.clip_skip);
  }
  if (options.sampler.noise == "cpu") text += ", RNG: CPU";
  text += a1111_sampler_extras(options);
  // Without "Hires steps", which are then as many as "Steps": so they are here.
  if (pictures.hires != 1.0) {
    text += fmt::format(", {}: {}, {}: {}", kUpscale, pictures.hires, kUpscaler,
                        pictures.hires_upscale == kLanczos ? "Lanczos" : "Latent");
  }
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
