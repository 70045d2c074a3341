#include <fmt/core.h>

#include <algorithm>
#include <iterator>
#include <string>
#include <vector>

#include "mos/region/guide.h"
#include "mos/study/parts.h"
#include "mos/study/plan.h"
#include "mos/study/titles.h"

/// Figure 6b and pictures of several concepts: the same places and seeds by every way to keep the
/// concepts apart.
namespace mos::study {
namespace {

using region::Compose;
using region::Guide;

/// One way; a further sampler is a row here.
struct Way {
  std::string name;  ///< Without what where_told() says.
  Merging merging;
  region::SamplerOptions sampler = {};  ///< Of a compose that merges nothing, nothing is merged.
  bool directly = false;                ///< There are no regions: the prompt says it all.
  bool class_words = false;             ///< Of the base model, which knows no concept.
  bool pictured = false;  ///< The merged model is of the picture's concepts, not of all of them.
  bool isolate = false;
  double base_ratio = 0.0, region_end = 1.0;
};

/// Without regions words say what stands where, or where there are none for so many, their order.
std::string where_told(std::size_t count) {
  return count <= kMostInWords ? ", places in words" : ", places by the prompt's order alone";
}

constexpr const char* kUnmerged = "own text and layers";

Way composed(const Merging& merging, const std::string& name, Compose compose) {
  return {.name = name, .merging = merging, .sampler = {.compose = compose}};
}

Way guided(const Merging& merging, Guide guide) {
  const auto& info = region::guide_info(guide);
  Way way{.name = std::string(info.title), .merging = merging, .sampler = {.guide = guide}};
  way.directly = !info.needs_regions;
  if (guide == Guide::kComposer) {  // whose concepts are never merged
    way.sampler.compose = Compose::kOwn;
    way.name = fmt::format("{}, {}", way.name, kUnmerged);
  }
  return way;
}

std::vector<Way> ways_of_quick(const Merging& gradient) {
  const auto& ours = gradient.tune;
  return {{row_title(ours, "gradient"), gradient},
          {row_title(ours, "weight"), {ours, "weight"}},
          composed(gradient, "own text", Compose::kText),
          composed(gradient, "own layers", Compose::kLayers),
          composed(gradient, kUnmerged, Compose::kOwn),
          {.name = title_of_merge("gradient"), .merging = gradient, .directly = true}};
}

/// Other tunings and merges by the same regions.
std::vector<Way> of_models(const Merging& gradient) {
  const auto& ours = gradient.tune;
  std::vector<Way> all = {{.name = row_title(ours, "gradient") + " of the pictured alone",
                           .merging = gradient,
                           .pictured = true},
                          {row_title("lora", "weight"), {"lora", "weight"}},
                          {title_of_tuning("p_plus") + ", words together", {"p_plus", "weight"}},
                          {row_title("custom_diffusion", "custom_diffusion"),
                           {"custom_diffusion", "custom_diffusion"}}};
  // Where one of them is what is studied it has its row already.
  std::erase_if(all, [&](const Way& way) { return way.name == row_title(ours, "weight"); });
  const auto merges = merges_for(ours);
  if (std::find(merges.begin(), merges.end(), "distill") != merges.end()) {
    all.push_back({row_title(ours, "distill"), {ours, "distill"}});
  }
  return all;
}

/// Other samplers with the same model. Guides and the search for regions look for words of the
/// concepts, which not all ways of tuning have.
std::vector<Way> of_samplers(const Merging& gradient, bool has_words, std::int64_t steps) {
  std::vector<Way> all = {
      {.name = "self-attention isolated", .merging = gradient, .isolate = true},
      {.name = "base ratio 0.2", .merging = gradient, .base_ratio = 0.2},
      {.name = "regions in the first 0.4 of the steps", .merging = gradient, .region_end = 0.4},
      {.name = "Structure Diffusion",
       .merging = gradient,
       .sampler = {.structure = region::Structure::kValues}},
      {.name = "hard binding in the first tenth of the steps",
       .merging = gradient,
       .sampler = {.hard_binding = std::max<std::int64_t>(1, steps / 10)}}};
  all.push_back({.name = "Structure Diffusion, conjunction",
                 .merging = gradient,
                 .sampler = {.structure = region::Structure::kConjunction},
                 .directly = true});
  for (auto way : {composed(gradient, "LoRA switch", Compose::kSwitch),
                   composed(gradient, "LoRA composite", Compose::kComposite)}) {
    way.directly = true;
    all.push_back(way);
  }
  if (!has_words) return all;
  for (const auto guide : {Guide::kAttend, Guide::kLayout, Guide::kBounded, Guide::kComposer}) {
    all.push_back(guided(gradient, guide));
  }
  all.push_back({.name = "found regions",
                 .merging = gradient,
                 .sampler = {.auto_regions = true},
                 .directly = true});
  return all;
}

std::vector<Way> ways(const Ground& ground) {
  const auto& ours = ground.options.method;
  const Merging gradient = {ours, "gradient"};
  auto all = ways_of_quick(gradient);
  if (!ground.options.quick) {
    for (auto& more : {of_models(gradient),
                       of_samplers(gradient, has_own_words(ground, ours), ground.options.steps)}) {
      std::copy(more.begin(), more.end(), std::back_inserter(all));
    }
  }
  all.push_back({.name = "class words (bounds)", .class_words = true});
  return all;
}

/// Steps of each of `count` concepts in turn, at most as many as the authors': such that all have
/// as many of `steps`, or where none does as nearly as can be.
std::int64_t equal_turns(std::int64_t steps, std::size_t count) {
  auto turn = region::kSwitchEvery;
  while (turn > 1 && steps % (turn * static_cast<std::int64_t>(count)) != 0) --turn;
  return turn;
}

ModelSpec painted_by(const Ground& ground, const Way& way,
                     const std::vector<const Subject*>& company) {
  if (way.class_words) return {};
  if (way.sampler.compose == Compose::kMerged) {
    return model_of(ground, way.pictured ? company : ground.of(Set::kReport), way.merging);
  }
  auto model = model_of(ground, company, {.tune = way.merging.tune, .merge = ""});
  model.compose = way.sampler.compose;
  return model;
}

Row row_of(const Ground& ground, const Way& way, std::size_t count) {
  Row row{.name = way.name + (way.directly ? where_told(count) : "")};
  auto sampler = way.sampler;
  if (sampler.compose == Compose::kSwitch) {
    sampler.switch_every = equal_turns(ground.options.steps, count);
  }
  for (const auto& company : companies(ground, count)) {
    row.shown.push_back({.model = painted_by(ground, way, company),
                         .subjects = company,
                         .class_word = way.class_words,
                         .directly = way.directly,
                         .sampler = sampler,
                         .isolate = way.isolate,
                         .base_ratio = way.base_ratio,
                         .region_end = way.region_end});
  }
  return row;
}

/// What is to be known of rows without regions.
std::string note_on_places(std::size_t count) {
  return count <= kMostInWords
             ? "Without regions the prompt says in words what stands where, as captions of the "
               "base's pictures do: \"on the left\", \"in the middle\", \"on the right\"."
             : "Without regions the order of the prompt is all that says what stands where, since "
               "there are no words for the places of so many; it is scored as if it went from left "
               "to right, so who has two the other way round has a margin below 0.";
}

/// What is to be known of the guides' rows, which a quick study has not.
std::string note_on_guides(const Ground& ground) {
  if (ground.options.quick || !has_own_words(ground, ground.options.method)) return "";
  return " The regions cover all of the picture: the loss of bounded attention, which is about "
         "what "
         "none covers, is 0, and its row is what its masks do.";
}

std::string note_of(const Ground& ground, std::size_t count, std::size_t groups) {
  return fmt::format(
      "Groups of reported characters and objects, side by side: {}. Text: alignment of a region "
      "with what is to be in it. Identity: image alignment of a "
      "region with its own concept; margin: that minus the best with another of the picture. "
      "Changes are against the first row, picture by picture. Class words are painted by the base "
      "model, which knows no concept. \"In the model\" are all {} reported "
      "concepts where they are merged, and those of the picture alone where nothing is merged or "
      "the row says so. {}{}",
      groups, ground.of(Set::kReport).size(), note_on_places(count), note_on_guides(ground));
}

}  // namespace

std::vector<Table> regions(const Ground& ground) {
  std::vector<Table> tables;
  for (const std::size_t count : {2, 3, 5}) {
    const auto pictured = companies(ground, count);
    if (pictured.empty()) continue;
    Table table{.title = fmt::format("Pictures of {} concepts", count),
                .note = note_of(ground, count, pictured.size()),
                .of_several = true,
                .most_prompts = 5};
    const bool shows_all = count == ground.of(Set::kReport).size();
    for (const auto& way : ways(ground)) {
      if (way.pictured && shows_all) continue;  // the first row once more
      table.rows.push_back(row_of(ground, way, count));
      const bool is_first = table.rows.size() == 1;
      if (!is_first && !way.class_words) table.rows.back().against = table.rows.front().name;
    }
    tables.push_back(table);
  }
  return tables;
}

}  // namespace mos::study
