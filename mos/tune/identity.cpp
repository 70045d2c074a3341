#include "mos/tune/identity.h"

#include <fmt/core.h>

#include "mos/base/json.h"
#include "mos/nn/compute.h"

namespace mos::tune {

namespace {

/// FNV-1a over names, captions and bytes.
std::string dataset_hash(const ConceptDataset& dataset) {
  std::uint64_t hash = 0xcbf29ce484222325ULL;
  const auto add = [&hash](const void* data, std::size_t bytes) {
    const auto* byte = static_cast<const unsigned char*>(data);
    for (std::size_t i = 0; i < bytes; ++i) hash = (hash ^ byte[i]) * 0x100000001b3ULL;
  };
  const auto add_text = [&](const std::string& text) { add(text.c_str(), text.size() + 1); };
  const auto add_picture = [&](const TrainingPicture& picture) {
    add_text(picture.name);
    add_text(picture.caption.text);
    for (const auto& other : picture.caption.others) add_text(other);
    if (picture.repeats > 1) add_text(std::to_string(picture.repeats));
    for (const auto& image : {picture.pixels, picture.mask}) {
      if (!image.defined()) continue;
      const auto bytes = image.contiguous();
      add(bytes.data_ptr(), static_cast<std::size_t>(bytes.numel()));
    }
  };
  for (const auto& picture : dataset.pictures) add_picture(picture);
  for (const auto& picture : dataset.prior) add_picture(picture);
  return fmt::format("{:016x}", hash);
}

/// Without what only says who wrote the file.
Json relevant(const Json& config) {
  Json kept = Json::object();
  for (const auto& [key, value] : config.items()) {
    if (!key.starts_with("_")) kept[key] = value;
  }
  return kept;
}

/// The first entry whose value differs, for the message.
std::string first_difference(const Json& before, const Json& now) {
  const auto sentence = [](const std::string& name, const Json& former, const Json& present) {
    return fmt::format("\"{}\" {} instead of {}", name, former.dump(), present.dump());
  };
  for (const auto& [name, value] : now.items()) {
    const auto former = before.value(name, Json());
    if (former != value) return sentence(name, former, value);
  }
  for (const auto& [name, value] : before.items()) {
    if (!now.contains(name)) return sentence(name, value, Json());
  }
  return "";
}

/// An object, also where the text is none.
Json parsed(const std::string& text) {
  auto json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  return json.is_object() ? json : Json::object();
}

std::string settings_difference(const std::string& before, const std::string& now) {
  const auto old_settings = parsed(before), new_settings = parsed(now);
  for (const auto& [part, config] : new_settings.items()) {
    const auto former = old_settings.value(part, Json::object());
    const auto difference = first_difference(former, config);
    if (!difference.empty()) {
      return fmt::format("another {} of the base model ({})", part, difference);
    }
  }
  return "other settings of the base model";
}

std::string options_difference(const std::string& before, const std::string& now) {
  const auto difference = first_difference(parsed(before), parsed(now));
  return difference.empty() ? "other options" : difference;
}

/// Without what changes nothing that is learned.
TuneOptions learning_of(const TuneOptions& options) {
  auto learning = options;
  learning.run = {};
  learning.run.seed = options.run.seed;
  // It decides what the file keeps of the gates, not what these become.
  learning.weights.neuron_threshold = WeightOptions().neuron_threshold;
  return learning;
}

}  // namespace

RunIdentity identity_of(const diffusion::Model& base, const ConceptDataset& dataset,
                        const TuneOptions& options, std::int64_t threads) {
  auto learning = learning_of(options);
  learning.run.dtype = nn::name_of(base.dtype());
  learning.run.threads = threads;
  auto asked = write_options(learning);
  asked["device"] = base.device().str();
  Json settings = {{"scheduler", relevant(base.settings.scheduler_config)}};
  for (const auto& [part, config] : base.settings.configs) {
    settings[std::string(name_of(part))] = relevant(config);
  }
  return {.options = asked.dump(),
          .base = diffusion::model_hash(base),
          .settings = settings.dump(),
          .data = dataset_hash(dataset),
          .program = {}};
}

std::map<std::string, std::string> entries_of(const RunIdentity& identity) {
  return {{"options", identity.options},
          {"base", identity.base},
          {"settings", identity.settings},
          {"data", identity.data},
          {"program", identity.program}};
}

std::string difference_without_base(const std::map<std::string, std::string>& before,
                                    const ConceptDataset& dataset, const TuneOptions& options) {
  const auto data = before.find("data"), asked = before.find("options");
  if (data == before.end() || asked == before.end()) return "";
  // Class pictures belong to the data, but they may not be painted yet.
  if (options.prior.pictures == 0 && data->second != dataset_hash(dataset)) {
    return "other pictures, masks or captions";
  }
  const auto former = parsed(asked->second);
  auto now = write_options(learning_of(options));
  for (const char* of_machine : {"dtype", "threads", "device"}) {
    if (former.contains(of_machine)) now[of_machine] = former[of_machine];
  }
  return first_difference(former, now);
}

std::string difference_of(const std::map<std::string, std::string>& before,
                          const RunIdentity& now) {
  const auto former = [&](const char* key) {
    const auto found = before.find(key);
    return found == before.end() ? std::string() : found->second;
  };
  if (!before.contains("settings")) return "another version of this program";
  if (former("base") != now.base) return "another base model";
  if (former("data") != now.data) return "other pictures, masks or captions";
  if (former("settings") != now.settings) {
    return settings_difference(former("settings"), now.settings);
  }
  if (former("options") != now.options) return options_difference(former("options"), now.options);
  return "";
}

}  // namespace mos::tune
