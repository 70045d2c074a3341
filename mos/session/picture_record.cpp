#include "mos/session/picture_record.h"

#include <fmt/core.h>

#include <algorithm>

#include "mos/base/describe.h"
#include "mos/base/error.h"
#include "mos/base/file.h"
#include "mos/base/runtime.h"
#include "mos/base/sha256.h"
#include "mos/io/image.h"
#include "mos/io/mapped_file.h"
#include "mos/region/foreign_record.h"

namespace mos::session {
namespace fs = std::filesystem;

namespace {

constexpr std::int64_t kGridGap = 4;  // pixels

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
  return json;
}

PictureRecord from_json(const Json& json, const std::string& origin) {
  if (!json.is_object()) throw Error(ErrorKind::kFormat, origin + " is not a JSON object");
  // What a grid was made of is in its cells' own files.
  if (json.contains("seeds")) {
    throw Error(ErrorKind::kUsage,
                origin + " belongs to a grid; run one of its pictures again instead");
  }
  PictureRecord record;
  record.program = json_required<std::string>(json, kProgramKey);
  record.libtorch = json_required<std::string>(json, "libtorch");
  const auto base = json_required<Json>(json, "base");
  record.base = json_required<std::string>(base, "path");
  record.base_hash = json_required<std::string>(base, "hash");
  if (base.contains("read")) read_options(base.at("read"), origin, record.read);
  for (const auto& use : json_required<Json>(json, "concepts")) {
    record.concepts.push_back({json_required<std::string>(use, "file"),
                               json_required<std::string>(use, "sha256"),
                               json_required<double>(use, "scale")});
  }
  auto options = json_required<Json>(json, "options");
  auto& pictures = record.options.pictures;
  pictures.init_sha256 = json_value<std::string>(options, "init_sha256", "");
  pictures.mask_sha256 = json_value<std::string>(options, "mask_sha256", "");
  options.erase("init_sha256");
  options.erase("mask_sha256");
  // Records of versions without syntax say nothing of it.
  record.options.sampler.plain_text = true;
  read_options(options, origin, record.options);
  record.has_syntax = !record.options.sampler.plain_text;
  record.scene = region::scene_from_json(json_required<Json>(json, "scene"), origin,
                                         {record.options.height, record.options.width});
  record.device = json_required<std::string>(json, "device");
  record.dtype = json_required<std::string>(json, "dtype");
  record.threads = json_required<std::int64_t>(json, "threads");
  record.seed = json_required<std::uint64_t>(json, "seed");
  record.has_parameters = json_value(json, "parameters", false);
  const auto first = record.options.seed;
  region::check_options(record.options);
  if (record.threads < 1 || record.threads > kMostThreads || record.seed < first ||
      record.seed - first >= static_cast<std::uint64_t>(record.options.count)) {
    throw Error(ErrorKind::kFormat, origin + " holds impossible numbers");
  }
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
    throw Error(ErrorKind::kFormat, fmt::format("{} does not say how it was made; expected a PNG "
                                                "that mos sample wrote; --from takes the options "
                                                "of other programs' pictures",
                                                picture.string()));
  }
  const auto origin = fmt::format("the record in {}", picture.string());
  return from_json(parse_json(found->second, origin), origin);
}

std::string picture_bytes(const torch::Tensor& pixels, const PictureRecord& record) {
  std::map<std::string, std::string> texts = {{kRecordKeyword, record_text(record)}};
  if (record.has_parameters) {
    texts["parameters"] =
        region::parameters_text(record.scene, record.options, record.seed, record.program);
  }
  return io::encode_png(pixels, texts);
}

fs::path record_path(fs::path picture) { return picture.replace_extension(".json"); }

void write_picture(const fs::path& path, const torch::Tensor& pixels, const PictureRecord& record) {
  // Both are complete before either appears: there is no picture without its record.
  AtomicFile png(path), sidecar(record_path(path));
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
                {{kRecordKeyword, json_text(json)}});
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
