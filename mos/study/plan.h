#pragma once

#include <map>
#include <string>
#include <vector>

#include "mos/fuse/options.h"
#include "mos/study/cells.h"
#include "mos/study/parts.h"
#include "mos/tune/options.h"

/// From rows to cells: everything that is to be made, each once, in the order in which one needs
/// the other.
namespace mos::study {

/// What all cells of a study depend on, beside what their specs say.
struct Basis {
  std::string base_hash;   ///< diffusion::model_hash.
  std::string judge_hash;  ///< Of all that judges: towers, DINO, and how texts are put.
  /// settings_hash() of the base: the same weights are another model with another schedule, scaling
  /// factor, number of heads or tokenizer.
  std::string settings_hash;
};

struct TuneCell {
  Cell cell;
  const Subject* subject = nullptr;
  tune::TuneOptions options;  ///< Before what the pictures say.
  std::string phrase;         ///< How the concept stands in prompts, as it is tuned here.
};

struct MergeCell {
  Cell cell;
  std::vector<std::string> tunings;  ///< Keys of TuneCells.
  ModelSpec spec;
  fuse::FuseOptions options;
};

struct PaintCell {
  Cell cell;
  PaintSpec spec;
  std::string model;                 ///< Of what it is painted with: cells of one model in a row.
  std::vector<std::string> tunings;  ///< Keys of what is in the model unmerged.
  std::string merge;                 ///< Key of a MergeCell; empty: none.
};

/// What the pictures of one PaintCell are measured against.
struct MeasureCell {
  Cell cell;
  std::string paint;                     ///< Key of the PaintCell.
  std::vector<const Subject*> subjects;  ///< One; of several the owners of the regions.
  std::vector<region::Box> boxes;        ///< The same number of them; one subject: none.
  std::vector<std::string> texts;        ///< Of each in plain words: what it is to show.
};

/// Where the values of a row come from.
struct PlannedRow {
  Row row;
  /// By entry of row.shown: the keys of its MeasureCells, one for each prompt.
  std::vector<std::vector<std::string>> measures;
  std::string failed;  ///< Why some of it could not be made; empty: all of it is there.
};

struct PlannedTable {
  std::string part;
  Table table;
  std::vector<PlannedRow> rows;
};

class Plan {
 public:
  /// Refers to both.
  Plan(const Ground& ground, const Basis& basis) : ground_(ground), basis_(basis) {}

  /// Throws kUsage where a row asks for what cannot be.
  void add(const std::string& part, const Table& table);

  const std::map<std::string, TuneCell>& tunings() const { return tunings_; }
  const std::map<std::string, MergeCell>& merges() const { return merges_; }
  const std::map<std::string, PaintCell>& paintings() const { return paintings_; }
  const std::map<std::string, MeasureCell>& measures() const { return measures_; }
  const std::vector<PlannedTable>& tables() const { return tables_; }

  /// Of the program, LibTorch and the base, which all cells depend on.
  Json versions() const;

 private:
  /// Keys of what a model is made of.
  struct Parts {
    std::vector<std::string> tunings;
    std::string merge;
  };
  std::string add(const TuneSpec& spec);
  const Parts& add(const std::string& model, const ModelSpec& spec);
  std::string phrase_in(const ModelSpec& model, const Subject& subject);
  std::string add_merge(const ModelSpec& spec, const std::vector<std::string>& tunings);
  std::string add(const PaintSpec& spec);
  std::string add_measure(MeasureCell measure);
  std::vector<std::string> add(const Shown& shown, const Table& table);
  std::vector<std::string> add_one(const Shown& shown, const Table& table);
  std::vector<std::string> add_several(const Shown& shown, const Table& table);
  std::size_t prompts_of(const Table& table, const std::string& category) const;

  const Ground& ground_;
  const Basis& basis_;
  std::map<std::string, Parts> models_;       ///< By digest of the wish: many texts, one model.
  std::map<std::string, std::string> tuned_;  ///< The same of tunings, which models share.
  std::map<std::string, TuneCell> tunings_;
  std::map<std::string, MergeCell> merges_;
  std::map<std::string, PaintCell> paintings_;
  std::map<std::string, MeasureCell> measures_;
  std::vector<PlannedTable> tables_;
};

/// The options that `spec` is tuned with, before what the pictures say of words and class.
tune::TuneOptions options_of(const TuneSpec& spec, const StudyOptions& options);

/// Places for `count` concepts side by side, each as large as the model's own canvas: fractions of
/// one that is so many times as wide. They touch, and lie on the grid of every layer: a margin
/// would cost a region whole positions of the coarse ones.
std::vector<region::Box> places(std::size_t count);

/// Of no more things than these there are words for where each stands.
inline constexpr std::size_t kMostInWords = 3;
/// What stands in the place of <TOK> for all of `phrases` from left to right: "A, a B and a C".
std::string listed_together(const std::vector<std::string>& phrases);
/// The same with their places, as captions of the drawn world say them: "A on the left and a B on
/// the right"; of more than kMostInWords the list.
std::string placed_together(const std::vector<std::string>& phrases);

}  // namespace mos::study
