#include "mos/jobs/eyes.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <span>
#include <tuple>

#include "mos/base/error.h"
#include "mos/base/folder.h"
#include "mos/base/stopwatch.h"
#include "mos/io/image.h"
#include "mos/io/picture_name.h"
#include "mos/session/picture_record.h"

namespace mos::jobs {

namespace fs = std::filesystem;
using torch::Tensor;

namespace {

/// The rows and columns of [H,W,3] that `part` names.
Tensor part_of(const Tensor& pixels, const std::vector<double>& part) {
  if (part.empty()) return pixels;
  const auto cut = [&](const Tensor& from, std::int64_t axis, double begin, double end) {
    const auto length = static_cast<double>(from.size(axis));
    const auto first = std::min(std::llround(begin * length), std::llround(length) - 1);
    return from.narrow(axis, first, std::max(1LL, std::llround(end * length) - first));
  };
  return cut(cut(pixels, 0, part[0], part[2]), 1, part[1], part[3]);
}

/// A picture whose record tells what it is, is one and no grid.
void check_columns(const fs::path& path, const Look& look) {
  if (look.columns == 1 || !look.part.empty() || !told_by(path)) return;
  throw Error(ErrorKind::kUsage,
              fmt::format("--columns {}: {} is one picture, as its record says, and no grid of "
                          "several; leave it out, or cut one part out with --part",
                          look.columns, path.string()));
}

}  // namespace

std::vector<fs::path> pictures_of(const fs::path& path) {
  if (!fs::is_directory(path)) return {path};
  const auto inside = path / "images";
  std::vector<fs::path> pictures;
  for (const auto& entry : entries_of(fs::is_directory(inside) ? inside : path)) {
    if (io::is_picture_name(entry)) pictures.push_back(entry);
  }
  if (!pictures.empty()) return pictures;
  throw Error(ErrorKind::kFormat,
              fmt::format("{} has no pictures; expected .png, .jpg or .webp", path.string()));
}

std::vector<fs::path> pictures_of(const std::vector<std::string>& paths) {
  std::vector<fs::path> pictures;
  for (const auto& path : paths) {
    for (auto& picture : pictures_of(fs::path(path))) pictures.push_back(std::move(picture));
  }
  return pictures;
}

std::optional<ToldPicture> told_by(const fs::path& picture) {
  try {
    auto record = session::read_record(picture);
    return ToldPicture{std::move(record.scene), record.seed};
  } catch (const Error&) {
    return std::nullopt;  // whatever it is, it tells nothing; reading its pixels says what is wrong
  }
}

ByPrompt by_prompt(const Tensor& values, const std::vector<fs::path>& pictures) {
  const ByPrompt one_by_one = {values.view({-1, 1}), false};
  const auto count = static_cast<std::int64_t>(pictures.size());
  if (values.size(0) != count) return one_by_one;  // several looks at each picture
  std::map<std::string, std::int64_t> prompts;
  std::map<std::uint64_t, std::int64_t> seeds;
  std::map<std::tuple<std::string, std::uint64_t>, std::int64_t> places;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto told = told_by(pictures[static_cast<std::size_t>(i)]);
    if (!told) return one_by_one;
    prompts.emplace(told->scene.prompt, static_cast<std::int64_t>(prompts.size()));
    seeds.emplace(told->seed, static_cast<std::int64_t>(seeds.size()));
    if (!places.emplace(std::tuple(told->scene.prompt, told->seed), i).second) return one_by_one;
  }
  const auto rows = static_cast<std::int64_t>(prompts.size());
  const auto columns = static_cast<std::int64_t>(seeds.size());
  if (rows * columns != count) return one_by_one;
  auto table = torch::empty({rows, columns}, values.options());
  for (const auto& [key, i] : places) {
    table[prompts.at(std::get<0>(key))][seeds.at(std::get<1>(key))] = values[i];
  }
  return {table, true};
}

Eyes::Eyes(const EvaluateJob& job, const JobContext& context)
    : context_(context),
      scorer_(job.clip.empty() ? eval::ClipScorer::load_judge(job.base)
                               : eval::ClipScorer::load(job.clip, job.clip)) {
  if (!job.dino.empty()) dino_.emplace(job.dino);
}

void Eyes::tell(const std::string& stage, std::int64_t done, std::size_t all,
                double seconds) const {
  if (!context_.progress) return;
  context_.progress({.stage = stage,
                     .step = done,
                     .total = static_cast<std::int64_t>(all),
                     .loss = std::numeric_limits<double>::quiet_NaN(),
                     .seconds = seconds});
}

Eyes::Seen Eyes::see(const std::vector<fs::path>& pictures, const std::string& stage,
                     const Look& look) {
  const Stopwatch watch;
  for (const auto& path : pictures) check_columns(path, look);  // before any is looked at
  std::vector<Tensor> clip, dino;
  std::int64_t done = 0;
  for (const auto& path : pictures) {
    if (context_.cancel != nullptr) context_.cancel->check();
    // One by one: pictures may differ in size, and each tower brings them to its own.
    const auto pixels = part_of(io::to_rgb(io::read_image(path).pixels), look.part);
    for (const auto& column : pixels.chunk(look.columns, 1)) {
      const auto one = column.contiguous().unsqueeze(0);
      clip.push_back(scorer_.image_embeds(one));
      if (dino_) dino.push_back(dino_->image_embeds(one));
    }
    tell(stage, ++done, pictures.size(), watch.seconds());
  }
  return {torch::cat(clip), dino_ ? torch::cat(dino) : Tensor()};
}

Tensor Eyes::read(const std::string& text) { return scorer_.text_embeds(std::span(&text, 1)); }

}  // namespace mos::jobs
