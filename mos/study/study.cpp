#include "mos/study/study.h"

#include <fmt/core.h>

#include <algorithm>
#include <tuple>

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

/// A study under way.
class Study {
 public:
  Study(const StudyOptions& options, const jobs::JobContext& context)
      : setting_(options),
        told_(context),
        context_(with_cell(context)),
        bench_(setting_.options, context_),
        store_(fs::path(options.out) / "cells"),
        timings_(fs::path(options.out) / kTimingsFile),
        plan_(setting_.ground, bench_.basis()) {}

  StudyReport run() {
    add_parts(setting_.ground, plan_);
    if (plan_.tables().empty()) {
      throw Error(ErrorKind::kUsage, "none of the parts has anything to compare");
    }
    make_folders(setting_.options.out);
    make_missing();
    StudyReport report{.options = setting_.options, .subjects = setting_.ground.subjects};
    tell_tables(report, 0);
    check_choice(report);
    for (const auto& subject : report.subjects) {
      report.ceilings[subject.name] = bench_.ceiling(subject);
    }
    report.versions = plan_.versions();
    return report;
  }

 private:
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

  /// Fills one cell unless it is done.
  template <class Make>
  fs::path get(const Cell& cell, const Work& work, Make make) {
    if (told_.cancel != nullptr) told_.cancel->check();
    return store_.get(cell, [&](const fs::path& folder) {
      ++made_;
      now_ = fmt::format("{} {} (cell {} of {})", cell.kind, cell.name, made_, missing_);
      const Stopwatch watch;
      make(folder);
      timings_.add(work.name, work.units, watch.seconds());
      timings_.save();
    });
  }

  template <class Cells>
  std::int64_t missing_of(const Cells& cells) const {
    return std::count_if(cells.begin(), cells.end(), [this](const auto& entry) {
      return store_.state(entry.second.cell) != CellStore::State::kDone;
    });
  }

  fs::path place(const std::string& tuning) const {
    return store_.place_of(plan_.tunings().at(tuning).cell);
  }
  std::vector<fs::path> places_of(const std::vector<std::string>& tunings) const {
    std::vector<fs::path> folders;
    for (const auto& key : tunings) folders.push_back(place(key));
    return folders;
  }

  void make_missing() {
    made_ = 0;
    missing_ = missing_of(plan_.tunings()) + missing_of(plan_.merges()) +
               missing_of(plan_.paintings()) + missing_of(plan_.measures());
    if (missing_ > 0) log::info(fmt::format("{} cells are to be made", missing_));
    for (const auto& [key, cell] : plan_.tunings()) {
      get(cell.cell, work_of(cell), [&, &one = cell](const fs::path& folder) {
        bench_.tune(one, folder, store_.place_of(one.cell));
      });
    }
    for (const auto& [key, cell] : plan_.merges()) {
      get(cell.cell, work_of(cell), [&, &one = cell](const fs::path& folder) {
        bench_.merge(one, places_of(one.tunings), folder);
      });
    }
    paint_missing();
    for (const auto& [key, cell] : plan_.measures()) {
      get(cell.cell, {"measure"}, [&, &one = cell](const fs::path& folder) {
        bench_.measure(one, store_.place_of(plan_.paintings().at(one.paint).cell), folder);
      });
    }
  }

  /// All pictures of one model in a row, so that it is put together once.
  void paint_missing() {
    std::vector<const PaintCell*> cells;
    for (const auto& [key, cell] : plan_.paintings()) cells.push_back(&cell);
    std::stable_sort(cells.begin(), cells.end(), [](const PaintCell* a, const PaintCell* b) {
      return std::tie(a->model, a->cell.name) < std::tie(b->model, b->cell.name);
    });
    for (const auto* cell : cells) {
      get(cell->cell, work_of(*cell, setting_.options), [&](const fs::path& folder) {
        auto concepts = places_of(cell->tunings);
        if (!cell->merge.empty()) concepts = {store_.place_of(plan_.merges().at(cell->merge).cell)};
        bench_.paint(*cell, concepts, folder);
      });
    }
  }

  /// The tables of the plan from number `first` on.
  void tell_tables(StudyReport& report, std::size_t first) const {
    const Done done{store_, plan_};
    for (auto i = first; i < plan_.tables().size(); ++i) {
      report.tables.push_back(result_of(plan_.tables()[i], done));
    }
  }

  /// What did better on the concepts that settings are chosen on, on those that check it.
  void check_choice(StudyReport& report) {
    const auto first = plan_.tables().size();
    for (const auto& table : std::vector<TableResult>(report.tables)) {
      const auto& part = part_named(table.part);
      if (part.checked == nullptr) continue;
      report.chosen = best_of_groups(table);
      for (const auto& checked : part.checked(setting_.ground, report.chosen)) {
        plan_.add(part.name, checked);
      }
    }
    make_missing();
    tell_tables(report, first);
  }

  Setting setting_;
  const jobs::JobContext& told_;
  jobs::JobContext context_;
  Workbench bench_;
  CellStore store_;
  Timings timings_;
  Plan plan_;
  std::string now_;
  std::int64_t made_ = 0, missing_ = 0;
};

}  // namespace

StudyReport run(const StudyOptions& given, const jobs::JobContext& context) {
  const log::ScopedSink sink(context.log);
  const auto options = complete_options(given);
  check(options);
  check_places(options, context);
  const auto report = Study(options, context).run();
  const fs::path out = options.out;
  write_text_file(out / "study.json", json_text(to_json(report), 2) + "\n");
  write_text_file(out / "study.md", tables_text(report));
  write_text_file(out / "study.html", page_text(report));
  write_preference(out, report);
  for (const char* name : {"study.json", "study.md", "study.html", kPreferencePage}) {
    if (fs::exists(out / name)) jobs::tell_result(context, (out / name).string());
  }
  return report;
}

}  // namespace mos::study
