#include "mos/concepts/peft_config.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <optional>
#include <regex>

#include "mos/base/error.h"
#include "mos/base/text.h"
#include "mos/concepts/python_regex.h"

namespace mos::concepts {

using checkpoint::Part;

namespace {

/// PEFT's default of r and of lora_alpha.
constexpr double kDefaultAlpha = 8.0;

constexpr const char* kRank = "r";
constexpr double kLargestRank = 1e9;

/// Names of layers and patterns for them are far shorter. The regular expressions of libstdc++
/// use the stack for every level of what they read.
constexpr std::size_t kLongestPattern = 1000;

/// Ways to initialise an adapter that take something out of the base model's weights.
constexpr auto kChangesTheBase =
    std::to_array<std::string_view>({"pissa", "olora", "loftq", "corda", "lora_ga"});

void refuse_other_base(const Json& config) {
  const auto found = config.find("init_lora_weights");
  if (found == config.end() || !found->is_string()) return;
  const auto way = found->get<std::string>();
  const bool changes = std::any_of(kChangesTheBase.begin(), kChangesTheBase.end(),
                                   [&](std::string_view name) { return way.starts_with(name); });
  if (!changes) return;
  throw Error(
      ErrorKind::kMismatch,
      fmt::format("this adapter was initialised with {}, which also changes the weights of the "
                  "base model; let PEFT convert it to a plain LoRA "
                  "(path_initial_model_for_weight_conversion)",
                  way));
}

/// What PEFT calls the forms that are read here.
struct PeftType {
  std::string_view name;
  DenseForm form;
};
constexpr auto kPeftTypes = std::to_array<PeftType>({{"LORA", DenseForm::kProduct},
                                                     {"LOHA", DenseForm::kHadamard},
                                                     {"LOKR", DenseForm::kKronecker}});

std::optional<DenseForm> form_in(const Json& config) {
  const auto name = json_value(config, "peft_type", std::string());
  if (name.empty()) return std::nullopt;
  const auto found = std::ranges::find(kPeftTypes, name, &PeftType::name);
  if (found != kPeftTypes.end()) return found->form;
  throw Error(
      ErrorKind::kMismatch,
      fmt::format("this adapter is of the peft_type {}; what is read here are LORA, LOHA and "
                  "LOKR",
                  printable(name)));
}

/// PEFT refuses other ranks, too: they would turn an update round or weaken it.
void check_rank(const std::string& name, double rank) {
  if (rank >= 1.0 && rank <= kLargestRank && rank == std::floor(rank)) return;
  throw_json_type_error(name, Json(rank), "a rank, a whole number from 1");
}

bool is_letter_digit_or(char c, std::string_view others) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || others.find(c) != others.npos;
}

/// What does not fit in an expression: the library's own words differ and name its macros.
struct RegexFault {
  std::regex_constants::error_type code;
  std::string_view text;
};

constexpr std::string_view kTooLarge =
    "it is too large once its counts are written out, make them smaller";
constexpr std::string_view kWrongCount =
    "a count in {} does not fit, expected {2}, {2,} or {2,4} with the smaller number first";

constexpr RegexFault kRegexFaults[] = {
    {std::regex_constants::error_paren,
     "its round brackets do not fit together, or a *, +, ? or {} stands where nothing can be "
     "repeated"},
    {std::regex_constants::error_brack, "its square brackets do not fit together"},
    {std::regex_constants::error_brace, kWrongCount},
    {std::regex_constants::error_badbrace, kWrongCount},
    {std::regex_constants::error_range,
     "a range in a set [] does not fit, expected the earlier letter first, as in [a-z]"},
    {std::regex_constants::error_badrepeat, "a *, +, ? or {} stands where nothing can be repeated"},
    {std::regex_constants::error_escape,
     "a backslash has behind it what means nothing, expected \\x and two or \\u and four digits"},
    // References are refused before: the library also says so of counts beyond its numbers.
    {std::regex_constants::error_backref, kTooLarge},
    {std::regex_constants::error_space, kTooLarge},
    {std::regex_constants::error_stack, kTooLarge},
    {std::regex_constants::error_complexity, kTooLarge},
};

std::string_view fault_of(std::regex_constants::error_type code) {
  const auto* fault = std::ranges::find(kRegexFaults, code, &RegexFault::code);
  return fault == std::end(kRegexFaults) ? "it is none that is known" : fault->text;
}

}  // namespace

/// `(.*\.)?(text)$` with its value.
class PeftConfig::Pattern {
 public:
  Pattern(std::string text, double value) : text_(std::move(text)), value_(value) {
    const bool is_name =
        std::all_of(text_.begin(), text_.end(), [](char c) { return is_letter_digit_or(c, "_."); });
    if (!is_name) compile();
  }

  bool matches(const std::string& layer) const {
    if (layer.size() > kLongestPattern) return false;
    return expression_ ? std::regex_match(layer, *expression_) : ends_as_text(layer);
  }
  const std::string& text() const { return text_; }
  double value() const { return value_; }

 private:
  void compile() {
    if (text_.size() > kLongestPattern) {
      throw Error(ErrorKind::kFormat,
                  fmt::format("a pattern for layers has {} letters, more than {}", text_.size(),
                              kLongestPattern));
    }
    try {
      // This matcher takes polynomial time whatever the expression.
      expression_.emplace(fmt::format(R"((.*\.)?({}))", ecmascript_of_python(text_)),
                          std::regex::ECMAScript | std::regex_constants::__polynomial);
    } catch (const std::regex_error& error) {
      throw Error(
          ErrorKind::kFormat,
          fmt::format("the pattern \"{}\" for layers is not read here: {}; mend it, or name "
                      "the layers one by one",
                      text_, fault_of(error.code())));
    }
  }

  /// What is most often there, a part of a name: as an expression, in which "." is any letter.
  bool ends_as_text(const std::string& layer) const {
    if (layer.size() < text_.size()) return false;
    const auto begin = layer.size() - text_.size();
    if (begin > 0 && layer[begin - 1] != '.') return false;
    return std::equal(text_.begin(), text_.end(),
                      layer.begin() + static_cast<std::ptrdiff_t>(begin),
                      [](char wanted, char c) { return wanted == '.' || wanted == c; });
  }

  std::string text_;
  double value_;
  std::optional<std::regex> expression_;
};

PeftConfig::PeftConfig(const Json& config, const std::string& origin) {
  try {
    read(config);
  } catch (const Error& error) {
    throw Error(error.kind(), fmt::format("{}: {}", origin, error.what()));
  }
}

void PeftConfig::read(const Json& config) {
  if (!config.is_object()) {
    throw Error(ErrorKind::kFormat, "expected a JSON object, PEFT's configuration");
  }
  refuse_other_base(config);
  // LoHa and LoKr have an alpha where LoRA has lora_alpha.
  const char* alpha = config.contains("lora_alpha") ? "lora_alpha" : "alpha";
  form_ = form_in(config);
  uses_dora_ = json_value(config, "use_dora", false);
  if (config.contains(kRank)) {
    rank_ = json_value(config, kRank, rank_);
    check_rank(kRank, rank_);
  }
  alpha_ = json_value(config, alpha, kDefaultAlpha);
  rank_stabilised_ = json_value(config, "use_rslora", false);
  ranks_ = patterns_in(config, "rank_pattern");
  for (const auto& pattern : ranks_) check_rank(pattern.text(), pattern.value());
  alphas_ = patterns_in(config, "alpha_pattern");
}

PeftConfig::~PeftConfig() = default;
PeftConfig::PeftConfig(PeftConfig&&) noexcept = default;

std::vector<PeftConfig::Pattern> PeftConfig::patterns_in(const Json& config, const char* key) {
  std::vector<Pattern> patterns;
  const auto found = config.find(key);
  if (found == config.end() || found->is_null()) return patterns;
  if (!found->is_object()) throw_json_type_error(key, *found, "an object of patterns");
  for (const auto& [text, value] : found->items()) {
    double number = 0.0;
    if (!assign_json(value, number)) throw_json_type_error(text, value, "a number");
    patterns.emplace_back(text, number);
  }
  return patterns;
}

double PeftConfig::resolve(const std::vector<Pattern>& patterns, const std::string& layer,
                           double fallback) {
  const auto found = std::find_if(patterns.begin(), patterns.end(),
                                  [&](const Pattern& pattern) { return pattern.matches(layer); });
  return found == patterns.end() ? fallback : found->value();
}

std::int64_t PeftConfig::rank(const std::string& layer) const {
  return static_cast<std::int64_t>(resolve(ranks_, layer, rank_));
}

double PeftConfig::scale(const std::string& layer, std::int64_t rank) const {
  const auto r = static_cast<double>(rank);
  return resolve(alphas_, layer, alpha_) / (rank_stabilised_ ? std::sqrt(r) : r);
}

PeftConfigs peft_configs(const std::map<std::string, std::string>& metadata,
                         const std::string& origin) {
  PeftConfigs configs;
  const auto entry = metadata.find(kAdapterMetadata);
  if (entry == metadata.end()) return configs;
  const auto where = fmt::format("{}: metadata \"{}\"", origin, kAdapterMetadata);
  const auto json = parse_json(entry->second, where);
  if (!json.is_object()) {
    throw Error(ErrorKind::kFormat,
                fmt::format("{} is {}, expected a JSON object, PEFT's configuration; save the file "
                            "again with PEFT or diffusers",
                            where, quoted(json)));
  }
  for (const auto network : checkpoint::kTunedParts) {
    const auto prefix = fmt::format("{}.", folder_of(network));
    Json config = Json::object();
    for (const auto& [name, value] : json.items()) {
      if (name.starts_with(prefix)) config[name.substr(prefix.size())] = value;
    }
    if (!config.empty()) configs.emplace(network, PeftConfig(config, where));
  }
  return configs;
}

namespace {

/// One network's LoraConfig. The first layer gives the defaults, the others are patterns.
void put_config(Json& metadata, Part network, const LayerUpdates& updates) {
  if (updates.empty()) return;
  const auto& first = updates.begin()->second;
  Json ranks = Json::object(), alphas = Json::object(), targets = Json::array();
  bool has_dora = false;
  for (const auto& [layer, update] : updates) {
    targets.push_back(layer);
    if (update.rank() != first.rank()) ranks[layer] = update.rank();
    if (update.alpha() != first.alpha()) alphas[layer] = update.alpha();
    has_dora = has_dora || !update.is_low_rank();
  }
  const auto put = [&](const char* name, Json value) {
    metadata[fmt::format("{}.{}", folder_of(network), name)] = std::move(value);
  };
  put("alpha_pattern", std::move(alphas));
  put("lora_alpha", first.alpha());
  put("r", first.rank());
  put("rank_pattern", std::move(ranks));
  put("target_modules", std::move(targets));
  if (has_dora) put("use_dora", true);
}

bool needs_no_config(const ConceptDelta& delta) {
  return std::ranges::all_of(delta.updates, [](const auto& network) {
    return std::ranges::all_of(network.second, [](const auto& entry) {
      return entry.second.is_low_rank() && entry.second.low_rank().scale == 1.0;
    });
  });
}

}  // namespace

std::string peft_metadata(const ConceptDelta& delta) {
  if (needs_no_config(delta)) return "";
  Json metadata = Json::object();
  for (const auto& [network, updates] : delta.updates) put_config(metadata, network, updates);
  return metadata.dump();
}

}  // namespace mos::concepts
