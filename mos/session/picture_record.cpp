#include "mos/session/picture_record.h"

#include <fmt/core.h>

#include <algorithm>

#include "mos/base/describe.h"
#include "mos/base/device.h"
#include "mos/base/error.h"
#include "mos/base/factor.h"
#include "mos/base/file.h"
#include "mos/base/maker.h"
#include "mos/base/naming.h"
#include "mos/base/runtime.h"
#include "mos/base/sha256.h"
#include "mos/base/text.h"
#include "mos/base/text_distance.h"
#include "mos/base/version.h"
#include "mos/io/image.h"
#include "mos/io/mapped_file.h"
#include "mos/nn/compute.h"
#include "mos/region/foreign_record.h"
#include "mos/session/output_kinds.h"

namespace mos::session {
namespace fs = std::filesystem;

namespace {

constexpr std::int64_t kGridGap = 4;  // pixels
constexpr const char* kWholeParameters = "whole";

/// The options without those of the sampler that are what they always were, so that pictures made
/// before there were these are the same bytes.
Json options_json(const PictureRecord& record) {
  auto json = write_options(record.options);
  JsonWriter defaults;
  region::SampleOptions usual;
  region::describe_more(defaults, usual);
  const auto usual_values = defaults.take();
  for (const auto& [key, value] : usual_values.items()) {
    if (json.at(key) == value || key == "plain_text") json.erase(key);
  }
  if (record.has_syntax) json["plain_text"] = false;
  const auto& pictures = record.options.pictures;
  if (!pictures.init_sha256.empty()) json["init_sha256"] = pictures.init_sha256;
  if (!pictures.mask_sha256.empty()) json["mask_sha256"] = pictures.mask_sha256;
  return json;
}

Json to_json(const PictureRecord& record) {
  Json json = {{kProgramKey, record.program},
               {"libtorch", record.libtorch},
               {"base", {{"path", record.base}, {"hash", record.base_hash}}},
               {"concepts", Json::array()}};
  // Only where there is something to say: pictures made before these options are the same bytes.
  if (record.read != checkpoint::ReadOptions()) json["base"]["read"] = write_options(record.read);
  for (const auto& use : record.concepts) {
    json["concepts"].push_back({{"file", use.file}, {"sha256", use.sha256}, {"scale", use.scale}});
  }
  json["scene"] = scene_to_json(record.scene);
  json["options"] = options_json(record);
  json["device"] = record.device;
  json["dtype"] = record.dtype;
  json["threads"] = record.threads;
  json["seed"] = record.seed;
  if (record.has_parameters) json["parameters"] = true;
  if (record.has_whole_parameters) json["parameters"] = kWholeParameters;
  return json;
}

/// The object `key` of `json`.
Json object_in(const Json& json, const std::string& key) {
  auto object = json_required<Json>(json, key);
  if (!object.is_object()) throw_json_type_error(key, object, "an object");
  return object;
}

/// Whoever painted with more options than we know would not get this picture again.
void refuse_other_keys(const Json& object, const std::vector<std::string>& known) {
  for (const auto& [key, value] : object.items()) {
    if (std::find(known.begin(), known.end(), key) != known.end()) continue;
    throw Error(ErrorKind::kFormat,
                fmt::format("\"{}\" is nothing that mos {} knows{}", printable(key), version(),
                            did_you_mean(key, known)));
  }
}

ConceptUse use_from_json(const Json& json) {
  if (!json.is_object()) throw_json_type_error("concepts", json, "an object for each");
  refuse_other_keys(json, {"file", "sha256", "scale"});
  ConceptUse use{json_required<std::string>(json, "file"),
                 json_required<std::string>(json, "sha256"), json_required<double>(json, "scale")};
  check_factor("\"scale\"", use.scale);
  return use;
}

region::SampleOptions options_from_json(Json json, const std::string& origin) {
  region::SampleOptions options;
  auto& pictures = options.pictures;
  pictures.init_sha256 = json_value<std::string>(json, "init_sha256", "");
  pictures.mask_sha256 = json_value<std::string>(json, "mask_sha256", "");
  json.erase("init_sha256");
  json.erase("mask_sha256");
  // Records of versions without syntax say nothing of it.
  options.sampler.plain_text = true;
  read_options(json, origin, options);
  region::check_options(options);
  return options;
}

/// What was painted, which had a prompt and a canvas; regions may be none.
region::Scene scene_in(const Json& json, const std::string& origin,
                       const region::SampleOptions& options) {
  const auto object = object_in(json, "scene");
  json_required<std::string>(object, "prompt");
  auto scene = region::scene_from_json(object, origin, {options.height, options.width});
  if (!scene.canvas && options.height > 0 && options.width > 0) {
    scene.canvas = region::Canvas{options.height, options.width};
  }
  if (!scene.canvas) {
    throw Error(ErrorKind::kFormat,
                "the scene has no \"height\" and \"width\", and neither have the "
                "options");
  }
  return scene;
}

/// Throws for what no picture can have been made with.
void check_record(const PictureRecord& record) {
  check_choice("\"dtype\"", record.dtype, nn::dtype_names());
  if (!is_device_name(record.device)) {
    throw Error(ErrorKind::kFormat, fmt::format("\"device\" is \"{}\", expected cpu, cuda or "
                                                "cuda:NUMBER",
                                                printable(record.device)));
  }
  if (record.threads < 1 || record.threads > kMostThreads) {
    throw Error(ErrorKind::kFormat, fmt::format("an impossible number of \"threads\", {}, expected "
                                                "1 to {}",
                                                record.threads, kMostThreads));
  }
  const auto first = record.options.seed;
  if (record.seed < first ||
      record.seed - first >= static_cast<std::uint64_t>(record.options.count)) {
    throw Error(ErrorKind::kFormat,
                fmt::format("an impossible \"seed\", {}: its batch of {} begins with {}",
                            record.seed, record.options.count, first));
  }
}

void read_parameters_mark(const Json& json, PictureRecord& record) {
  const auto mark = json_value<Json>(json, "parameters", Json());
  record.has_whole_parameters = mark == kWholeParameters;
  record.has_parameters = record.has_whole_parameters || json_value(json, "parameters", false);
}

/// What A1111's text tells of a picture.
std::string parameters_of(const PictureRecord& record) {
  auto scene = record.scene;
  auto options = record.options;
  if (!record.has_whole_parameters) {
    scene.root_prompt.clear();
    scene.root_negative_prompt.clear();
    options.pictures.hires = 1.0;
  }
  return region::parameters_text(scene, options, record.seed, record.program);
}

PictureRecord from_json(const Json& json, const std::string& origin) {
  if (!json.is_object()) throw Error(ErrorKind::kFormat, origin + " is not a JSON object");
  // What a grid was made of is in its cells' own files.
  if (json.contains("seeds")) {
    throw Error(ErrorKind::kFormat,
                origin + " belongs to a grid; run one of its pictures again instead");
  }
  if (json.contains(kMakerKey)) {
    throw Error(ErrorKind::kFormat,
                fmt::format("{} says that {} made it, expected a picture of mos sample", origin,
                            printable(json_value<std::string>(json, kMakerKey, ""))));
  }
  refuse_other_keys(json, {kProgramKey, "libtorch", "base", "concepts", "scene", "options",
                           "device", "dtype", "threads", "seed", "parameters"});
  PictureRecord record;
  record.program = json_required<std::string>(json, kProgramKey);
  record.libtorch = json_required<std::string>(json, "libtorch");
  const auto base = object_in(json, "base");
  refuse_other_keys(base, {"path", "hash", "read"});
  record.base = json_required<std::string>(base, "path");
  record.base_hash = json_required<std::string>(base, "hash");
  if (base.contains("read")) read_options(object_in(base, "read"), origin, record.read);
  const auto concepts = json_required<Json>(json, "concepts");
  if (!concepts.is_array()) throw_json_type_error("concepts", concepts, "a list");
  for (const auto& use : concepts) record.concepts.push_back(use_from_json(use));
  record.options = options_from_json(object_in(json, "options"), origin);
  record.has_syntax = !record.options.sampler.plain_text;
  record.scene = scene_in(json, origin, record.options);
  record.device = json_required<std::string>(json, "device");
  record.dtype = json_required<std::string>(json, "dtype");
  record.threads = json_required<std::int64_t>(json, "threads");
  record.seed = json_required<std::uint64_t>(json, "seed");
  read_parameters_mark(json, record);
  check_record(record);
  return record;
}

}  // namespace

std::string record_text(const PictureRecord& record) { return json_text(to_json(record)); }

std::string sidecar_text(const PictureRecord& record) {
  return json_text(to_json(record), 2) + "\n";
}

PictureRecord read_record(const fs::path& picture) {
  const auto image = io::read_image(picture);
  const auto found = image.text.find(kRecordKeyword);
  if (found == image.text.end()) {
    throw Error(ErrorKind::kFormat, fmt::format("{} does not say how it was made, or in a text "
                                                "that is damaged or too long; expected a PNG that "
                                                "mos sample wrote; --from takes the options of "
                                                "other programs' pictures",
                                                picture.string()));
  }
  const auto origin = fmt::format("the record in {}", picture.string());
  try {
    return naming(origin, [&] { return from_json(parse_json(found->second, origin), origin); });
  } catch (const Error& error) {
    // Nobody is asked to write records: what is wrong in one is the file's fault, all of it.
    throw Error(ErrorKind::kFormat, error.what());
  }
}

std::string picture_bytes(const torch::Tensor& pixels, const PictureRecord& record) {
  std::map<std::string, std::string> texts = {{kRecordKeyword, record_text(record)}};
  if (record.has_parameters) {
    texts["parameters"] = parameters_of(record);
  }
  return io::encode_png(pixels, texts);
}

fs::path record_path(fs::path picture) { return picture.replace_extension(".json"); }

void write_picture(const fs::path& path, const torch::Tensor& pixels, const PictureRecord& record) {
  // Both are complete before either appears: there is no picture without its record, but for one
  // that cannot take its place, which has it inside.
  AtomicFile png(path, {.kind = picture_kind()});
  AtomicFile sidecar(record_path(path), {.kind = record_kind()});
  png.write(picture_bytes(pixels, record));
  sidecar.write(sidecar_text(record));
  png.commit();
  sidecar.commit();
}

void write_grid(const fs::path& path, const std::vector<torch::Tensor>& pictures,
                std::int64_t columns, const PictureRecord& record) {
  auto json = to_json(record);
  json.erase("seed");
  json["seeds"] = Json::array();
  for (std::size_t i = 0; i < pictures.size(); ++i) json["seeds"].push_back(record.seed + i);
  io::write_png(path, io::make_grid(pictures, columns, kGridGap),
                {{kRecordKeyword, json_text(json)}}, {.kind = picture_kind()});
}

std::string file_hash(const fs::path& path) {
  constexpr std::size_t kChunk = std::size_t{16} << 20;  // base models have gigabytes
  const io::MappedFile file(path);
  Sha256 sha;
  for (std::size_t begin = 0; begin < file.size(); begin += kChunk) {
    const auto bytes = std::min(kChunk, file.size() - begin);
    sha.update(file.data() + begin, bytes);
    // Hashed pages are not needed again; without this a model larger than memory would push
    // everything else out.
    file.release(file.data() + begin, bytes);
  }
  return sha.hex();
}

}  // namespace mos::session
