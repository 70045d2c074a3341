#include "mos/study/study.h"

#include <fmt/core.h>

#include <algorithm>
#include <functional>
#include <tuple>

#include "mos/base/counted.h"
#include "mos/base/error.h"
#include "mos/base/file.h"
#include "mos/base/log.h"
#include "mos/base/outputs.h"
#include "mos/base/stopwatch.h"
#include "mos/eval/page.h"
#include "mos/session/output_kinds.h"
#include "mos/study/ground.h"
#include "mos/study/preference.h"
#include "mos/study/report.h"
#include "mos/study/timings.h"
#include "mos/study/workbench.h"

namespace mos::study {

namespace fs = std::filesystem;

namespace {

constexpr const char* kTimingsFile = "timings.json";

void check_places(const StudyOptions& options, const jobs::JobContext& context) {
  const fs::path out = options.out;
  Outputs outputs;
  outputs.read("--base", options.base);
  outputs.read("--prompts", options.prompts);
  outputs.read("--clip", options.clip);
  outputs.read("--dino", options.dino);
  outputs.read("--config", context.config);
  for (const auto* folders : {&options.concepts, &options.choose, &options.check}) {
    for (const auto& folder : *folders) outputs.read("a folder of concepts", folder);
  }
  const FileKind tables = {"the tables of a study", [](const fs::path& path) {
                             return read_text_file(path).starts_with(kTablesHeading);
                           }};
  const auto write = [&](const char* name, const FileKind& kind) {
    outputs.write(
        FileOutput{.name = "--out", .path = out / name, .kind = kind, .makes_folder = true});
  };
  write("study.json", session::report_kind());
  write(kTimingsFile, session::report_kind());
  write(kPreferenceKey, session::report_kind());
  write("study.md", tables);
  write("study.html", eval::page_kind());
  write(kPreferencePage, eval::page_kind());
  outputs.check();
}

/// Cells that could not be made, by their places, and why.
using Failures = std::map<fs::path, std::string>;

/// What was made with other options than these, or of something else, would be lost.
void refuse_outdated(const CellStore& store, const std::vector<Plan>& plans) {
  std::set<fs::path> outdated;
  std::string first;
  const auto look = [&](const auto& cells) {
    for (const auto& [key, cell] : cells) {
      if (store.state(cell.cell) != CellStore::State::kOutdated) continue;
      if (outdated.empty()) first = store.outdated_text(cell.cell);
      outdated.insert(store.place_of(cell.cell));
    }
  };
  for (const auto& plan : plans) {
    look(plan.tunings());
    look(plan.merges());
    look(plan.paintings());
    look(plan.measures());
  }
  if (outdated.empty()) return;
  throw Error(ErrorKind::kUsage,
              fmt::format("{} of the study would be made anew, the first of them {}; give what it "
                          "was made with, another --out, or --anew",
                          counted(outdated.size(), "cell"), first));
}

/// A study under way.
class Study {
 public:
  Study(const StudyOptions& options, const jobs::JobContext& context)
      : setting_(options),
        told_(context),
        context_(with_cell(context)),
        bench_(setting_.options, context_),
        store_(fs::path(options.out) / "cells"),
        timings_(fs::path(options.out) / kTimingsFile) {}

  /// `tell` gets the report after each part, with what there is by then.
  StudyReport run(const std::function<void(const StudyReport&)>& tell) {
    auto plans = planned();
    make_folders(setting_.options.out);
    store_.clear_leftovers();
    StudyReport report{.options = setting_.options, .subjects = setting_.ground.subjects};
    for (const auto& subject : report.subjects) {
      report.ceilings[subject.name] = bench_.judge().ceilings(subject);
    }
    report.versions = plans.front().versions();
    for (auto& plan : plans) report.to_come.push_back(plan.tables().front().part);
    for (auto& plan : plans) {
      make_missing(plan);
      tell_tables(plan, report, 0);
      check_choice(plan, report);
      report.to_come.erase(report.to_come.begin());
      for (const auto& [place, message] : failed_) report.failures.insert(message);
      tell(report);
    }
    return report;
  }

 private:
  /// A plan for each part that has something to compare.
  std::vector<Plan> planned() const {
    std::vector<Plan> plans;
    for (const auto& part : setting_.options.parts) {
      Plan plan(setting_.ground, bench_.basis());
      add_part(setting_.ground, part, plan);
      if (!plan.tables().empty()) plans.push_back(std::move(plan));
    }
    if (plans.empty()) throw Error(ErrorKind::kUsage, "none of the parts has anything to compare");
    if (!setting_.options.anew) refuse_outdated(store_, plans);
    return plans;
  }

  /// `context` whose progress says which cell it is of.
  jobs::JobContext with_cell(const jobs::JobContext& context) {
    auto own = context;
    if (context.progress) {
      own.progress = [this](Progress progress) {
        progress.stage = fmt::format("{}: {}", now_, progress.stage);
        told_.progress(progress);
      };
    }
    return own;
  }

  /// Fills one cell unless it is done. One that fails is remembered, and with it fails what would
  /// be made `from` it: the rows of others are worth having.
  template <class Make>
  void get(const Cell& cell, const std::vector<fs::path>& from, Make make) {
    if (told_.cancel != nullptr) told_.cancel->check();
    const auto place = store_.place_of(cell);
    if (failed(place)) return;
    const auto missing = std::ranges::find_if(from, [&](const auto& at) { return failed(at); });
    if (missing != from.end()) {
      failed_[place] = failed_.at(*missing);
      return;
    }
    try {
      store_.get(cell, [&](const fs::path& folder) {
        ++made_;
        now_ = fmt::format("{} {} (cell {} of {})", cell.kind, cell.name, made_, missing_);
        make(folder);
      });
    } catch (const Error& error) {
      const auto kind = error.kind();
      // Without disk or device the next cell would fail as well.
      const bool of_all =
          kind == ErrorKind::kCancelled || kind == ErrorKind::kIo || kind == ErrorKind::kDevice;
      if (of_all) throw;
      fail(cell, error.what());
    } catch (const std::bad_alloc&) {
      throw;
    } catch (const std::exception& error) {
      // Of LibTorch: a matrix that has no inverse, say. Where it was thrown is of no use here.
      const std::string message = error.what();
      fail(cell, message.substr(0, message.find('\n')));
    }
  }
  void fail(const Cell& cell, const std::string& message) {
    auto& why = failed_[store_.place_of(cell)];
    why = fmt::format("{} {}: {}", cell.kind, cell.name, message);
    log::warn(why);
  }
  bool failed(const fs::path& place) const { return failed_.contains(place); }

  /// `make` in the time that such work takes.
  template <class Make>
  void timed(const Work& work, Make make) {
    const Stopwatch watch;
    make();
    timings_.add(work.name, work.units, watch.seconds());
    timings_.save();
  }

  template <class Cells>
  std::int64_t missing_of(const Cells& cells) const {
    return std::count_if(cells.begin(), cells.end(), [this](const auto& entry) {
      return store_.state(entry.second.cell) != CellStore::State::kDone;
    });
  }

  std::vector<fs::path> places_of(const Plan& plan, const std::vector<std::string>& tunings) const {
    std::vector<fs::path> folders;
    for (const auto& key : tunings) {
      folders.push_back(store_.place_of(plan.tunings().at(key).cell));
    }
    return folders;
  }

  void make_missing(const Plan& plan) {
    made_ = 0;
    missing_ = missing_of(plan.tunings()) + missing_of(plan.merges()) +
               missing_of(plan.paintings()) + missing_of(plan.measures());
    if (missing_ > 0) {
      log::info(fmt::format("{}: {} cells are to be made", plan.tables().front().part, missing_));
    }
    for (const auto& [key, cell] : plan.tunings()) tune(cell);
    for (const auto& [key, cell] : plan.merges()) {
      const auto tunings = places_of(plan, cell.tunings);
      get(cell.cell, tunings, [&, &one = cell](const fs::path& folder) {
        timed(work_of(one), [&] { bench_.merge(one, tunings, folder); });
      });
    }
    paint_missing(plan);
    for (const auto& [key, cell] : plan.measures()) {
      const auto painting = store_.place_of(plan.paintings().at(cell.paint).cell);
      get(cell.cell, {painting}, [&, &one = cell](const fs::path& folder) {
        timed({"measure"}, [&] { bench_.judge().measure(one, painting, folder); });
      });
    }
  }

  void tune(const TuneCell& cell) {
    const auto checkpoint = checkpoint_of(cell, store_.place_of(cell.cell));
    get(cell.cell, {}, [&](const fs::path& folder) {
      // One that goes on says little of how long a whole one takes.
      if (fs::exists(checkpoint)) return bench_.tune(cell, folder, checkpoint);
      timed(work_of(cell), [&] { bench_.tune(cell, folder, checkpoint); });
    });
    if (store_.state(cell.cell) != CellStore::State::kDone) return;
    std::error_code ignored;  // it would only be taken up by the same tuning
    fs::remove(checkpoint, ignored);
  }

  /// All pictures of one model in a row, so that it is put together once.
  void paint_missing(const Plan& plan) {
    std::vector<const PaintCell*> cells;
    for (const auto& [key, cell] : plan.paintings()) cells.push_back(&cell);
    std::stable_sort(cells.begin(), cells.end(), [](const PaintCell* a, const PaintCell* b) {
      return std::tie(a->model, a->cell.name) < std::tie(b->model, b->cell.name);
    });
    for (const auto* cell : cells) {
      auto concepts = places_of(plan, cell->tunings);
      if (!cell->merge.empty()) concepts = {store_.place_of(plan.merges().at(cell->merge).cell)};
      get(cell->cell, concepts, [&](const fs::path& folder) {
        timed(work_of(*cell, setting_.options), [&] { bench_.paint(*cell, concepts, folder); });
      });
    }
  }

  /// Why a row cannot be told; empty: it can.
  std::string failure_of(const Plan& plan, const PlannedRow& row) const {
    for (const auto& measures : row.measures) {
      for (const auto& key : measures) {
        const auto found = failed_.find(store_.place_of(plan.measures().at(key).cell));
        if (found != failed_.end()) return found->second;
      }
    }
    return "";
  }

  /// The tables of the plan from number `first` on.
  void tell_tables(const Plan& plan, StudyReport& report, std::size_t first) const {
    const Done done{store_, plan};
    for (auto i = first; i < plan.tables().size(); ++i) {
      auto table = plan.tables()[i];
      for (auto& row : table.rows) row.failed = failure_of(plan, row);
      report.tables.push_back(result_of(table, done));
    }
  }

  /// What did better on the concepts that settings are chosen on, on those that check it.
  void check_choice(Plan& plan, StudyReport& report) {
    const auto& part = part_named(plan.tables().front().part);
    if (part.checked == nullptr) return;
    const auto first = plan.tables().size();
    report.chosen = best_of_groups(report.tables[report.tables.size() - first]);
    for (const auto& checked : part.checked(setting_.ground, report.chosen)) {
      plan.add(part.name, checked);
    }
    try {
      if (!setting_.options.anew) refuse_outdated(store_, {plan});
    } catch (const Error& error) {  // after hours of other parts, which shall be told
      report.failures.insert(error.what());
      return;
    }
    make_missing(plan);
    tell_tables(plan, report, first);
  }

  Setting setting_;
  const jobs::JobContext& told_;
  jobs::JobContext context_;
  Workbench bench_;
  CellStore store_;
  Timings timings_;
  Failures failed_;
  std::string now_;
  std::int64_t made_ = 0, missing_ = 0;
};

void write_reports(const fs::path& out, const StudyReport& report) {
  write_text_file(out / "study.json", json_text(to_json(report), 2) + "\n");
  write_text_file(out / "study.md", tables_text(report));
  write_text_file(out / "study.html", page_text(report));
  write_preference(out, report);
}

/// What a study leaves; the preference page only where it is of these pictures.
std::vector<fs::path> results_of(const StudyReport& report) {
  std::vector<fs::path> results;
  const fs::path out = report.options.out;
  for (const char* name : {"study.json", "study.md", "study.html"}) results.push_back(out / name);
  if (!pairs_of(report).empty()) results.push_back(out / kPreferencePage);
  return results;
}

}  // namespace

StudyReport run(const StudyOptions& given, const jobs::JobContext& context) {
  const log::ScopedSink sink(context.log);
  const auto options = complete_options(given);
  check(options);
  check_places(options, context);
  const fs::path out = options.out;
  auto report =
      Study(options, context).run([&](const StudyReport& so_far) { write_reports(out, so_far); });
  for (const auto& path : results_of(report)) jobs::tell_result(context, path.string());
  return report;
}

}  // namespace mos::study
