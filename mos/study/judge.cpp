#include "mos/study/judge.h"

#include <span>

#include "mos/base/file.h"
#include "mos/base/folder.h"
#include "mos/io/image.h"
#include "mos/session/picture_record.h"

namespace mos::study {

namespace fs = std::filesystem;
using torch::Tensor;

namespace {

constexpr const char* kFiguresFile = "figures.json";

Json list_of(const Tensor& values) {
  Json list = Json::array();
  if (values.dim() > 1) {
    for (const auto& row : values.unbind(0)) list.push_back(list_of(row));
    return list;
  }
  for (std::int64_t i = 0; i < values.size(0); ++i) list.push_back(values[i].item<double>());
  return list;
}

/// Whether a network is read from such files; others in its folder say nothing of it.
bool is_of_network(const fs::path& file) {
  const auto ending = file.extension();
  return ending == ".safetensors" || ending == ".bin" || ending == ".json" || ending == ".txt";
}

/// Of all files of a network below `folder` by their names; of "" none.
Json hashes_in(const fs::path& folder) {
  Json hashes = Json::object();
  if (folder.empty()) return hashes;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file() || !is_of_network(entry.path())) continue;
    hashes[fs::relative(entry, folder).generic_string()] = session::file_hash(entry);
  }
  return hashes;
}

}  // namespace

Judge::Judge(const StudyOptions& options)
    : options_(options),
      clip_(options.clip.empty() ? eval::ClipScorer::load_judge(options.base)
                                 : eval::ClipScorer::load(options.clip, options.clip)) {
  if (!options.dino.empty()) dino_.emplace(options.dino);
}

std::string Judge::hash_of(const StudyOptions& options) {
  const bool is_own = options.clip.empty();  // which brings pictures to its size in another way
  const fs::path clip = is_own ? eval::judge_of(options.base) : fs::path(options.clip);
  return digest_of({{"prefix", options.text_prefix},
                    {is_own ? "judge" : "clip", hashes_in(clip)},
                    {"dino", hashes_in(options.dino)}});
}

Judge::Seen Judge::see(const Tensor& pictures) {
  return {clip_.image_embeds(pictures), dino_ ? dino_->image_embeds(pictures) : Tensor()};
}

const Judge::Seen& Judge::references_of(const Subject& subject) {
  const auto found = references_.find(subject.name);
  if (found != references_.end()) return found->second;
  std::vector<Tensor> clip, dino;
  for (const auto& picture : own_pictures(subject)) {  // which may differ in size
    const auto seen = see(picture.unsqueeze(0));
    clip.push_back(seen.clip);
    if (dino_) dino.push_back(seen.dino);
  }
  return references_[subject.name] = {torch::cat(clip), dino_ ? torch::cat(dino) : Tensor()};
}

std::map<std::string, double> Judge::ceilings(const Subject& subject) {
  const auto& own = references_of(subject);
  const auto count = own.clip.size(0);
  if (count < 2) return {};
  std::map<std::string, double> reached = {
      {"image", eval::leave_one_out_alignment(own.clip)},
      {"first", eval::image_alignment(own.clip.narrow(0, 1, count - 1), own.clip).first_reference}};
  if (dino_) reached["dino"] = eval::leave_one_out_alignment(own.dino);
  return reached;
}

Tensor Judge::text_alignment(const Tensor& seen, const std::string& text) {
  const auto whole = options_.text_prefix.empty() ? text : options_.text_prefix + " " + text;
  return eval::text_alignment_of_each(seen, clip_.text_embeds(std::span(&whole, 1)).squeeze(0));
}

Json Judge::measure_one(const MeasureCell& cell, const Tensor& pictures) {
  const auto seen = see(pictures);
  const auto& own = references_of(*cell.subjects.front());
  const auto alignment = eval::alignment_of_each(seen.clip, own.clip);
  Json figures = {{"image", list_of(alignment.all_pairs)},
                  {"first", list_of(alignment.first_reference)},
                  {"text", list_of(text_alignment(seen.clip, cell.texts.front()))}};
  if (dino_) figures["dino"] = list_of(eval::alignment_of_each(seen.dino, own.dino).all_pairs);
  return figures;
}

Json Judge::measure_several(const MeasureCell& cell, const Tensor& pictures) {
  std::vector<Tensor> references;
  for (const auto* subject : cell.subjects) references.push_back(references_of(*subject).clip);
  std::vector<Tensor> texts, identities, margins;
  for (std::size_t r = 0; r < cell.boxes.size(); ++r) {
    const auto box = region::on_features(cell.boxes[r], pictures.size(1), pictures.size(2));
    const auto crops = clip_.image_embeds(
        pictures.slice(1, box.top, box.bottom).slice(2, box.left, box.right).contiguous());
    texts.push_back(text_alignment(crops, cell.texts[r]));
    identities.push_back(eval::alignment_of_each(crops, references[r]).all_pairs);
    margins.push_back(eval::margin_of_each(crops, r, references));
  }
  return {{"text", list_of(torch::stack(texts))},
          {"own", list_of(torch::stack(identities))},
          {"margin", list_of(torch::stack(margins))}};
}

void Judge::measure(const MeasureCell& cell, const fs::path& painting, const fs::path& folder) {
  std::vector<Tensor> pictures;
  for (const auto& path : pictures_in(painting)) {
    pictures.push_back(io::to_rgb(io::read_image(path).pixels));
  }
  const auto all = torch::stack(pictures);
  const auto figures = cell.boxes.empty() ? measure_one(cell, all) : measure_several(cell, all);
  write_text_file(folder / kFiguresFile, json_text(figures) + "\n");
}

std::vector<fs::path> pictures_in(const fs::path& painting) {
  std::vector<fs::path> pictures;
  for (const auto& entry : entries_of(painting)) {
    if (entry.extension() == ".png") pictures.push_back(entry);
  }
  return pictures;
}

Figures read_figures(const fs::path& folder) {
  Figures figures;
  const auto json = read_json_file(folder / kFiguresFile);
  for (const auto& [name, list] : json.items()) {
    const bool nested = !list.empty() && list.front().is_array();
    std::vector<double> values;
    for (const auto& entry : list) {
      const auto row = nested ? entry : Json::array({entry});
      for (const auto& value : row) values.push_back(value.get<double>());
    }
    const auto rows = nested ? static_cast<std::int64_t>(list.size()) : 1;
    auto tensor = torch::tensor(values, torch::kFloat64);
    figures.values[name] = nested ? tensor.view({rows, -1}) : tensor;
  }
  return figures;
}

}  // namespace mos::study
