#include "mos/concepts/embedding_file.h"

#include <fmt/core.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "mos/base/error.h"

namespace mos::concepts {

using torch::Tensor;

namespace {

constexpr std::string_view kOfficialPrefix = "new_concept_embedding/";
constexpr std::string_view kBundlePrefix = "bundle_emb.";
constexpr std::string_view kParams = "emb_params";
constexpr std::string_view kNamedParams = "string_to_param";  ///< A dictionary with one entry.
constexpr std::string_view kTokenIds = "string_to_token/";
constexpr const char* kAnyName = "*";

bool is_word(std::string_view key) { return key.starts_with('<') && key.ends_with('>'); }

/// What a module calls its tensors is not what a person calls a word.
bool is_parameter(std::string_view key) {
  return key.ends_with(".weight") || key.ends_with(".bias");
}

bool is_xti_layer(std::string_view key) {
  return std::find(kXtiLayers.begin(), kXtiLayers.end(), key) != kXtiLayers.end();
}

/// `string_to_param/*` or `string_to_param.*` -> `*`; empty for another key.
std::string_view entry_of_params(std::string_view key) {
  if (!key.starts_with(kNamedParams) || key.size() < kNamedParams.size() + 2) return {};
  const char separator = key[kNamedParams.size()];
  if (separator != '/' && separator != '.') return {};
  return key.substr(kNamedParams.size() + 1);
}

bool holds_vectors(const Tensor& tensor) {
  return tensor.is_floating_point() && tensor.numel() > 0 &&
         (tensor.dim() == 1 || tensor.dim() == 2);
}

std::string shape_complaint(const std::string& key, const Tensor& tensor) {
  return fmt::format("{} (an embedding must be floating-point vectors [n, width], not {} {})", key,
                     c10::toString(tensor.scalar_type()), io::shape_text(tensor.sizes()));
}

std::string nameless(const std::string& key) {
  return fmt::format("{} (an embedding without a name, which no prompt can hold)", key);
}

/// Rows [L·n,C] of a tensor of ours or the authors': [L,C], or [L,n,C].
std::optional<ConceptWord> official_word(const std::string& name, const Tensor& tensor) {
  const bool fits =
      tensor.is_floating_point() && tensor.numel() > 0 && (tensor.dim() == 2 || tensor.dim() == 3);
  if (!fits) return std::nullopt;
  if (tensor.dim() == 2) return ConceptWord{name, tensor};
  return ConceptWord{name, tensor.flatten(0, 1), tensor.size(1)};
}

std::optional<ConceptWord> shared_word(const std::string& name, const Tensor& tensor) {
  if (!holds_vectors(tensor)) return std::nullopt;
  const auto rows = tensor.dim() == 1 ? tensor.unsqueeze(0) : tensor;
  return ConceptWord{name, rows, rows.size(0)};
}

void require_one_row(const ConceptWord& word, EmbeddingDialect dialect) {
  if (word.layers() == 1) return;
  throw Error(
      ErrorKind::kMismatch,
      fmt::format("the word {} has rows of its own for each of {} layers, which {} "
                  "embeddings cannot hold; mos convert --mean-rows writes their mean instead",
                  word.word, word.layers(), name_of(dialect)));
}

/// `rows` of `word` as [L,n,C] for L layers, shared ones repeated.
Tensor layerwise(const Tensor& rows, const ConceptWord& word, std::int64_t layers) {
  return rows.unflatten(0, {word.layers(), word.vectors}).expand({layers, -1, -1});
}

/// Those of the one encoder that files have.
Tensor layerwise(const ConceptWord& word, std::int64_t layers) {
  return layerwise(word.rows.first(), word, layers);
}

io::StateDict xti_tensors(const ConceptWord& word) {
  constexpr auto kLayers = static_cast<std::int64_t>(kXtiLayers.size());
  if (word.layers() != 1 && word.layers() != kLayers) {
    throw Error(
        ErrorKind::kMismatch,
        fmt::format("the word {} has rows for {} layers, XTI files are for {}; the format mos has "
                    "any number, and --mean-rows leaves one row for all",
                    word.word, word.layers(), kLayers));
  }
  const auto rows = layerwise(word, kLayers);
  io::StateDict dict;
  for (std::int64_t l = 0; l < kLayers; ++l) {
    dict[kXtiLayers[static_cast<std::size_t>(l)]] = rows[l].contiguous();
  }
  return dict;
}

}  // namespace

std::string_view name_of(EmbeddingDialect dialect) {
  switch (dialect) {
    case EmbeddingDialect::kOfficial:
      return "Mix-of-Show";
    case EmbeddingDialect::kA1111:
      return "A1111";
    case EmbeddingDialect::kDiffusers:
      return "diffusers";
    case EmbeddingDialect::kXti:
      return "kohya XTI";
    case EmbeddingDialect::kBundle:
      return "bundle_emb";
  }
  return "";
}

void EmbeddingCollector::add(Vector vector) {
  ++dialects_[vector.dialect];
  vectors_.push_back(std::move(vector));
}

void EmbeddingCollector::take_word(const std::string& word, const Tensor& tensor) {
  add({EmbeddingDialect::kDiffusers, word, word, tensor});
}

bool EmbeddingCollector::take(const std::string& key, const Tensor& tensor) {
  const std::string_view name = key;
  if (name.starts_with(kOfficialPrefix) && name.size() > kOfficialPrefix.size()) {
    add({EmbeddingDialect::kOfficial, key.substr(kOfficialPrefix.size()), key, tensor});
  } else if (name == kParams) {
    add({EmbeddingDialect::kA1111, "", key, tensor});
  } else if (const auto entry = entry_of_params(name); !entry.empty()) {
    add({EmbeddingDialect::kA1111, "", key, tensor, std::string(entry)});
  } else if (name.starts_with(kBundlePrefix)) {
    const auto rest = name.substr(kBundlePrefix.size());
    const auto dot = rest.find('.');
    // A word's own dots cannot be told from this one; word_tensors() writes none.
    if (dot == 0 || dot == rest.npos) return false;
    const auto value = rest.substr(dot + 1);
    if (value != kParams && entry_of_params(value).empty()) return false;
    add({EmbeddingDialect::kBundle, std::string(rest.substr(0, dot)), key, tensor});
  } else if (is_xti_layer(name)) {
    layers_[key] = tensor;
    ++dialects_[EmbeddingDialect::kXti];
  } else if (name.starts_with(kTokenIds)) {
    ids_.push_back(key);
  } else {
    return false;
  }
  return true;
}

bool EmbeddingCollector::take_dictionary(const io::StateDict& rest) {
  // Beside keys that were understood, others are strays and no words.
  if (rest.empty() || !vectors_.empty() || !layers_.empty()) return false;
  const bool are_words =
      // diffusers saves {word: vector}. One entry may be called anything; of several, only names
      // that nobody gives to a parameter are taken for words.
      (rest.size() == 1 && !is_parameter(rest.begin()->first)) ||
      std::all_of(rest.begin(), rest.end(), [](const auto& entry) { return is_word(entry.first); });
  if (!are_words) return false;
  for (const auto& [key, tensor] : rest) take_word(key, tensor);
  return true;
}

void EmbeddingCollector::finish_layers(ConceptDelta& delta, KeyReport& report) const {
  if (layers_.empty()) return;
  std::vector<Tensor> rows;
  bool fits = true;
  for (const auto* layer : kXtiLayers) {
    const auto found = layers_.find(layer);
    if (found == layers_.end()) {
      report.missing.push_back(layer);
      continue;
    }
    const auto word = shared_word("", found->second);
    // Sixteen layers with as many vectors each, or it is damaged.
    fits = fits && word && (rows.empty() || word->rows.first().sizes() == rows.front().sizes());
    if (!fits) {
      report.wrong.push_back(shape_complaint(layer, found->second));
      break;
    }
    rows.push_back(word->rows.first());
  }
  if (!fits || rows.size() != kXtiLayers.size()) return;
  if (file_word_.empty()) {
    report.wrong.push_back(nameless(kXtiLayers.front()));
    return;
  }
  delta.words.push_back(named_as_the_file({"", torch::cat(rows), rows.front().size(0)}, kAnyName));
  for (const auto& [key, tensor] : layers_) report.matched.push_back({key, file_word_});
}

ConceptWord EmbeddingCollector::named_as_the_file(ConceptWord word,
                                                  const std::string& entry) const {
  word.word = file_word_;
  const auto& inner = entry.empty() || entry == kAnyName ? inner_name_ : entry;
  if (inner != file_word_) word.alias = inner;
  return word;
}

void EmbeddingCollector::finish(ConceptDelta& delta, KeyReport& report) const {
  const auto of_the_file = std::count_if(vectors_.begin(), vectors_.end(),
                                         [](const Vector& vector) { return vector.word.empty(); });
  for (const auto& vector : vectors_) {
    auto word = vector.dialect == EmbeddingDialect::kOfficial
                    ? official_word(vector.word, vector.tensor)
                    : shared_word(vector.word, vector.tensor);
    if (word && vector.word.empty()) {
      // The first programs kept several words in one file, each under its own name.
      const bool alone =
          of_the_file == 1 || vector.inner_name.empty() || vector.inner_name == kAnyName;
      word->word = vector.inner_name;
      if (alone) word = named_as_the_file(std::move(*word), vector.inner_name);
    }
    if (word && word->word.empty()) {
      report.wrong.push_back(nameless(vector.key));
    } else if (word) {
      report.matched.push_back({vector.key, word->word});
      delta.words.push_back(std::move(*word));
    } else {
      report.wrong.push_back(shape_complaint(vector.key, vector.tensor));
    }
  }
  finish_layers(delta, report);
  for (const auto& key : ids_) report.matched.push_back({key, "token numbers, not needed"});
  // The sequence of tensors in a file says nothing; metadata may say more later.
  std::stable_sort(delta.words.begin(), delta.words.end(),
                   [](const auto& a, const auto& b) { return a.word < b.word; });
}

io::StateDict word_tensors(const ConceptWord& word, EmbeddingDialect dialect) {
  if (dialect == EmbeddingDialect::kXti) return xti_tensors(word);
  if (dialect == EmbeddingDialect::kOfficial) {
    // The authors have [layers, width]; a third dimension appears only where a word needs it.
    const auto rows = word.vectors == 1 ? word.rows.first() : layerwise(word, word.layers());
    return {{std::string(kOfficialPrefix) + word.word, rows.contiguous()}};
  }
  require_one_row(word, dialect);
  const auto rows = word.rows.first().contiguous();
  if (dialect == EmbeddingDialect::kDiffusers) return {{word.word, rows}};
  if (dialect == EmbeddingDialect::kA1111) return {{std::string(kParams), rows}};
  if (word.word.find('.') != std::string::npos) {
    throw Error(ErrorKind::kUsage,
                fmt::format("the word {} has a dot in it, which ends the name in a bundle_emb key; "
                            "rename it",
                            word.word));
  }
  return {{fmt::format("{}{}.{}.{}", kBundlePrefix, word.word, kNamedParams, kAnyName), rows}};
}

ConceptWord with_mean_rows(const ConceptWord& word) {
  const auto mean = [&](const Tensor& rows) {
    return layerwise(rows, word, word.layers()).to(torch::kFloat32).mean(0);
  };
  return {word.word, word.rows.changed(mean), word.vectors, word.alias};
}

}  // namespace mos::concepts
