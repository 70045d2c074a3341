#include "mos/concepts/training_metadata.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include "mos/base/error.h"
#include "mos/base/text.h"

namespace mos::concepts {

namespace {

/// Metadata entries and what they are called in a summary. Source: kohya sd-scripts
/// train_network.py, and Stability AI's model metadata standard.
struct Entry {
  const char* key;
  const char* name;
};
constexpr auto kEntries = std::to_array<Entry>({
    {"modelspec.title", "title"},
    {"modelspec.architecture", "architecture"},
    {"ss_base_model_version", "base_version"},
    {"ss_sd_model_name", "base_model"},
    {"ss_network_module", "network_module"},
    {"ss_network_dim", "network_dim"},
    {"ss_network_alpha", "network_alpha"},
    {"ss_network_args", "network_args"},
    {"ss_steps", "steps"},
    {"ss_num_epochs", "epochs"},
    {"ss_num_train_images", "pictures"},
    {"ss_resolution", "resolution"},
    {"ss_unet_lr", "unet_lr"},
    {"ss_text_encoder_lr", "text_encoder_lr"},
    {"ss_optimizer", "optimizer"},
    {"ss_clip_skip", "clip_skip"},
    {"ss_v2", "v2"},
});
constexpr std::size_t kShownTags = 8;

/// {folder: {tag: count}} summed over the folders; damaged JSON has no tags. The sums are doubles,
/// which no count can overflow.
std::map<std::string, double> tag_counts(const std::string& text) {
  std::map<std::string, double> counts;
  Json folders;
  try {
    folders = parse_json(text, "ss_tag_frequency");
  } catch (const Error&) {
    return counts;  // what a trainer left there is a hint at most
  }
  if (!folders.is_object()) return counts;
  for (const auto& folder : folders) {
    if (!folder.is_object()) continue;
    for (const auto& [tag, count] : folder.items()) {
      std::int64_t number = 0;
      if (assign_json(count, number)) counts[tag] += static_cast<double>(number);
    }
  }
  return counts;
}

}  // namespace

std::vector<std::string> trained_phrases(const std::map<std::string, std::string>& metadata,
                                         std::size_t count) {
  const auto own = metadata.find(kPhraseKey);
  if (own != metadata.end() && !trimmed(own->second).empty()) return {trimmed(own->second)};
  const auto trigger = metadata.find("modelspec.trigger_phrase");
  if (trigger != metadata.end() && !trimmed(trigger->second).empty()) {
    return {trimmed(trigger->second)};
  }
  const auto tags = metadata.find("ss_tag_frequency");
  if (tags == metadata.end()) return {};
  const auto counts = tag_counts(tags->second);
  std::vector<std::pair<std::string, double>> sorted(counts.begin(), counts.end());
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const auto& a, const auto& b) { return a.second > b.second; });
  std::vector<std::string> phrases;
  for (const auto& [tag, times] : sorted) {
    if (phrases.size() < count && !trimmed(tag).empty()) phrases.push_back(trimmed(tag));
  }
  return phrases;
}

Json training_summary(const std::map<std::string, std::string>& metadata) {
  Json summary = Json::object();
  for (const auto& [key, name] : kEntries) {
    const auto found = metadata.find(key);
    if (found != metadata.end() && found->second != "None") summary[name] = found->second;
  }
  const auto phrases = trained_phrases(metadata, kShownTags);
  if (!phrases.empty()) summary["trained_on"] = phrases;
  return summary;
}

}  // namespace mos::concepts
