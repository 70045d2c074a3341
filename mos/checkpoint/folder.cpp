#include <fmt/ranges.h>

#include <set>
#include <utility>

#include "mos/base/directory.h"
#include "mos/base/error.h"
#include "mos/base/file.h"
#include "mos/base/record.h"
#include "mos/base/text.h"
#include "mos/checkpoint/parts.h"
#include "mos/io/safetensors.h"
#include "mos/io/tensor_file.h"

namespace mos::checkpoint {
namespace {

namespace fs = std::filesystem;

/// The variant that is read where a folder has nothing else.
constexpr const char* kHalfVariant = "fp16";

[[noreturn]] void missing(const fs::path& directory, const std::string& part) {
  throw Error(ErrorKind::kIo,
              fmt::format("cannot load the model {}: {} is missing", directory.string(), part));
}

/// Where weights called `stem` may be, best first. Variants stand before the ending; those of
/// sharded files came before the ending of the index first, then before that of the shards.
std::vector<std::string> candidates(const std::string& stem, const std::string& ending,
                                    const std::string& variant) {
  if (variant.empty()) return {stem + ending, stem + ending + ".index.json"};
  return {fmt::format("{}.{}{}", stem, variant, ending),
          fmt::format("{}{}.index.{}.json", stem, ending, variant),
          fmt::format("{}.{}{}.index.json", stem, variant, ending)};
}

std::optional<fs::path> find_weights(const fs::path& folder, const NetworkPart& part,
                                     const std::string& variant) {
  for (const auto& [stem, ending] :
       {std::pair{part.weights, ".safetensors"}, std::pair{part.old_weights, ".bin"}}) {
    for (const auto& name : candidates(stem, ending, variant)) {
      if (fs::exists(folder / name)) return folder / name;
    }
  }
  return std::nullopt;
}

/// The shards that an index names, each once. Throws kFormat, or kIo naming all that are missing.
std::set<std::string> shards_of(const Json& index, const fs::path& path) {
  const auto map = index.find("weight_map");
  if (map == index.end() || !map->is_object()) {
    throw Error(ErrorKind::kFormat,
                fmt::format("cannot read {}: it has no \"weight_map\"", path.string()));
  }
  std::set<std::string> shards;
  std::vector<std::string> absent;
  for (const auto& [key, value] : map->items()) {
    const auto name = value.is_string() ? value.get<std::string>() : "";
    // An index is somebody else's text: a shard called ../../x would be read from anywhere.
    if (name.empty() || fs::path(name).has_parent_path()) {
      throw Error(ErrorKind::kFormat, fmt::format("cannot read {}: the shard of {} is {}, expected "
                                                  "the name of a file beside it",
                                                  path.string(), printable(key), quoted(value)));
    }
    const bool is_new = shards.insert(name).second;
    if (is_new && !fs::exists(path.parent_path() / name)) absent.push_back(name);
  }
  if (!absent.empty()) {
    throw Error(ErrorKind::kIo,
                fmt::format("cannot read {}: {} of its {} shards are missing: {}", path.string(),
                            absent.size(), shards.size(), fmt::join(absent, ", ")));
  }
  return shards;
}

io::StateDict read_shards(const fs::path& path) {
  const auto index = read_json_file(path);
  io::StateDict tensors;
  for (const auto& shard : shards_of(index, path)) {
    auto file = io::read_tensor_file(path.parent_path() / shard);
    for (auto& [key, tensor] : file.tensors) {
      // Two writers of one tensor cannot both be right, and which one won would depend on names.
      if (tensors.emplace(key, std::move(tensor)).second) continue;
      throw Error(ErrorKind::kFormat,
                  fmt::format("cannot read {}: two of its shards hold \"{}\"", path.string(), key));
    }
  }
  return tensors;
}

io::StateDict read_weights(const fs::path& directory, const NetworkPart& part,
                           const std::string& variant) {
  const auto folder = directory / part.folder;
  auto path = find_weights(folder, part, variant);
  // As diffusers does: a variant counts for the networks that have it.
  if (!path && !variant.empty()) path = find_weights(folder, part, "");
  // Folders with the half variant alone are common (downloads that left the large files out).
  if (!path && variant.empty()) path = find_weights(folder, part, kHalfVariant);
  if (!path) missing(directory, fmt::format("{}/{}.safetensors", part.folder, part.weights));
  return path->extension() == ".json" ? read_shards(*path)
                                      : std::move(io::read_tensor_file(*path).tensors);
}

/// The settings as they are, byte by byte: what is not changed is written back as it was read.
std::map<std::string, std::string> read_settings(const fs::path& directory) {
  std::map<std::string, std::string> texts;
  std::vector<std::string> names = {kIndexFile, kSchedulerFile, kConceptsFile};
  names.insert(names.end(), kKeptFiles.begin(), kKeptFiles.end());
  for (const auto& part : kNetworks) names.push_back(part.config_file());
  for (const auto& name : names) {
    if (fs::exists(directory / name)) texts[name] = read_text_file(directory / name);
  }
  return texts;
}

/// Parts of the index that are folders and none of ours.
std::map<std::string, fs::path> other_parts(const Json& index, const fs::path& directory) {
  std::set<std::string> ours = {fs::path(kSchedulerFile).parent_path(), kTokenizerFolder};
  for (const auto& part : kNetworks) ours.insert(part.folder);
  std::map<std::string, fs::path> parts;
  for (const auto& [name, value] : index.items()) {
    const bool is_part = value.is_array() && value.size() == 2 && value[1].is_string();
    if (is_part && !ours.contains(name) && fs::is_directory(directory / name)) {
      parts[name] = directory / name;
    }
  }
  return parts;
}

/// What an index says that its folder holds; nothing where it cannot be read.
std::set<std::string> parts_named_in(const fs::path& index) {
  std::set<std::string> names;
  try {
    const auto entries = read_json_file(index);
    for (const auto& [name, value] : entries.items()) {
      if (value.is_array()) names.insert(name);
    }
    // An index that cannot be read names no parts; who reads the folder says what is wrong with it.
  } catch (const Error&) {
  }
  return names;
}

/// Whether the folder of some part, ours or another's, may hold a file of this name: settings, the
/// files of a tokenizer, and weights whole or in shards, of any variant.
bool is_file_of_part(const std::string& name) {
  static const std::set<std::string> kSettings = {"config.json",
                                                  "scheduler_config.json",
                                                  "preprocessor_config.json",
                                                  "vocab.json",
                                                  "merges.txt",
                                                  "tokenizer.json",
                                                  "tokenizer_config.json",
                                                  "special_tokens_map.json",
                                                  "added_tokens.json"};
  if (kSettings.contains(name) || name == fs::path(kLatentColoursFile).filename()) return true;
  for (const std::string stem : {"diffusion_pytorch_model", "pytorch_model", "model"}) {
    if (!name.starts_with(stem + ".") && !name.starts_with(stem + "-")) continue;
    const auto ending = fs::path(name).extension();
    return ending == ".safetensors" || ending == ".bin" ||
           (ending == ".json" && name.find(".index.") != std::string::npos);
  }
  return false;
}

bool has_variant(const fs::path& directory, const std::string& variant) {
  for (const auto& part : kNetworks) {
    if (find_weights(directory / part.folder, part, variant)) return true;
  }
  return false;
}

void copy_folder(const fs::path& source, const fs::path& target) {
  std::error_code code;
  fs::copy(source, target, fs::copy_options::recursive, code);
  if (code) {
    throw Error(ErrorKind::kIo, fmt::format("cannot copy {} to {}: {}", source.string(),
                                            target.string(), code.message()));
  }
}

}  // namespace

Checkpoint read_folder(const fs::path& directory, const ReadOptions& options) {
  if (!options.variant.empty() && !has_variant(directory, options.variant)) {
    missing(directory, fmt::format("every file of the variant \"{}\"", options.variant));
  }
  Checkpoint checkpoint;
  checkpoint.origin = directory;
  take_settings(checkpoint, read_settings(directory));
  if (!fs::is_directory(directory / kTokenizerFolder)) missing(directory, kTokenizerFolder);
  checkpoint.tokenizer = text::CLIPTokenizer::from_directory(directory / kTokenizerFolder);
  checkpoint.other_parts = other_parts(checkpoint.model_index, directory);
  for (const auto& part : kNetworks) {
    checkpoint.networks.at(part.part).tensors = read_weights(directory, part, options.variant);
  }
  return checkpoint;
}

void check_model_folder(const fs::path& folder, const std::set<std::string>& more) {
  FolderKind model = {.name = "a model", .marker = kIndexFile, .entries = more};
  model.deeper = [&more](const fs::path& inside, fs::file_type type) {
    if (type == fs::file_type::regular) return is_file_of_part(inside.filename());
    return more.contains(inside.begin()->string());  // parts have no folders in them
  };
  model.entries.insert({kIndexFile, kConceptsFile, kSampleDefaultsFile, kTokenizerFolder,
                        fs::path(kSchedulerFile).parent_path().string()});
  for (const auto& part : kNetworks) model.entries.insert(part.folder);
  model.entries.merge(parts_named_in(folder / kIndexFile));
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (is_own_record(entry.path())) model.entries.insert(entry.path().filename().string());
  }
  check_kind(folder, model);
}

bool is_part_of_model(const fs::path& file) {
  return file.filename() == kIndexFile || file.filename() == kConceptsFile;
}

void write_folder(Checkpoint checkpoint, const fs::path& directory, const WriteOptions& options) {
  for (const auto& [name, text] : settings_texts(checkpoint)) {
    make_folders((directory / name).parent_path());
    write_text_file(directory / name, text);
  }
  for (const auto& [name, text] : options.notes) write_text_file(directory / name, text);
  checkpoint.tokenizer.save(directory / kTokenizerFolder);
  for (const auto& part : kNetworks) {
    auto& tensors = checkpoint.networks.at(part.part).tensors;
    io::LazyDict lazy;
    for (auto& [key, tensor] : tensors) {
      auto& made = lazy[key] = io::lazy_tensor(tensor);
      // Whole numbers (the positions of a text) stay whole.
      if (tensor.is_floating_point()) made.dtype = options.dtype.value_or(made.dtype);
      if (!options.values) continue;
      made.make = [&, name = fmt::format("{}/{}", part.folder, key), tensor = tensor] {
        return options.values(name, tensor);
      };
    }
    const auto file = fmt::format("{}/{}.safetensors", part.folder, part.weights);
    tensors.clear();
    io::write_safetensors(directory / file, std::move(lazy), {{"format", "pt"}},
                          {.cancel = options.cancel});
  }
  for (const auto& [name, source] : checkpoint.other_parts) copy_folder(source, directory / name);
}

}  // namespace mos::checkpoint
