#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "mos/base/json.h"

/// What a study is made of: pieces of work, each kept in a folder of its own with all that it
/// depends on, so that nothing is done twice and an interrupted study goes on.
namespace mos::study {

/// One piece of work.
struct Cell {
  std::string kind;  ///< "tune", "merge", "paint" or "measure".
  std::string name;  ///< For people and file names, a few words: "genie ed_lora".
  /// What was asked for. Two cells of one kind and wish are the same one.
  Json wish;
  /// All that the result depends on: complete options, digests of what it is made from, versions.
  /// A cell that was made with another basis is made anew.
  Json basis;
};

/// 64 hexadecimal digits of `json`.
std::string digest_of(const Json& json);
/// Of the basis: what cells that are made from `cell` depend on.
std::string digest_of(const Cell& cell);

class CellStore {
 public:
  /// In `folder`, which need not be there.
  explicit CellStore(std::filesystem::path folder) : folder_(std::move(folder)) {}

  enum class State {
    kMissing,
    kOutdated,  ///< It is there, made with another basis.
    kDone,
  };
  State state(const Cell& cell) const;

  std::filesystem::path place_of(const Cell& cell) const;

  /// Of a cell that is outdated, for people: "tune genie ed_lora 7, whose steps was 300 and is
  /// 600".
  std::string outdated_text(const Cell& cell) const;

  /// Removes what studies that were killed had begun here.
  void clear_leftovers() const;

  /// The folder of `cell`, which `make` fills unless it is done. Says in the log what has changed
  /// where one is made anew; the former one goes when the new one stands. Throws what `make`
  /// throws, and then keeps what was there; kUsage where something else is in its place.
  std::filesystem::path get(const Cell& cell,
                            const std::function<void(const std::filesystem::path&)>& make) const;

 private:
  std::filesystem::path folder_;
};

/// "steps was 300 and is 600": the first few differences of two bases, in the words of their keys.
std::string differences(const Json& before, const Json& now);

}  // namespace mos::study
