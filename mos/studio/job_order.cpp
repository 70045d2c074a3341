#include "mos/studio/job_order.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <system_error>
#include <utility>

#include "mos/base/file.h"
#include "mos/base/folder.h"
#include "mos/base/text.h"
#include "mos/studio/claims.h"
#include "mos/studio/parts.h"
#include "mos/studio/schema_check.h"

namespace mos::studio {
namespace {

namespace fs = std::filesystem;

/// Of class pictures of all concepts, each set of which has a folder of its own there.
constexpr const char* kPriorFolder = "uploads/class-pictures";

constexpr std::chrono::seconds kCheckPatience{10};

bool is_written(const std::string& option) {
  return std::ranges::find(written_options(), option) != written_options().end();
}

bool is_path(const std::string& name, const Json& property) {
  // Texts of mos sample that may be something else than a file as well.
  if (name == "init" || name == "mask") return true;
  const auto& value = property.contains("items") ? property.at("items") : property;
  return value.value("format", "") == "path";
}

class OrderMaker {
 public:
  explicit OrderMaker(const Parts& parts)
      : forms_(parts.forms), folder_(parts.folder), reader_(parts.reader), runner_(parts.runner) {}

  JobOrder make(const Json& request) {
    refuse_unknown_keys(request, {"kind", "options", "scene", "words", "title", "dry_run"});
    order_.kind = field<std::string>(request, "kind", "");
    order_.options = field<Json>(request, "options", Json::object());
    order_.scene = field<Json>(request, "scene", nullptr);
    order_.words = field<std::vector<std::string>>(request, "words", {});
    order_.title = field<std::string>(request, "title", "");
    order_.dry_run = field<bool>(request, "dry_run", false);
    check_values();
    claims_ = runner_.claims(order_);
    check_paths(order_.options);
    check_words();
    if (!order_.scene.is_null()) check_scene(order_.scene);
    check_picture_before();
    check_lora_tags(order_.options);
    check_lora_tags(order_.scene);
    add_defaults();
    check_with_mos();
    return std::move(order_);
  }

 private:
  void check_values() {
    const auto& schema = forms_.schema(order_.kind);
    if (!order_.options.is_object()) throw Refused(400, "\"options\" must be an object");
    const auto problems = schema_problems(order_.options, schema, schema, "");
    if (!problems.empty()) throw Refused(400, problems.front());
    if (order_.dry_run && !takes_config(order_.kind)) {
      throw Refused(400, fmt::format("mos {} has no dry run", order_.kind));
    }
    constexpr std::size_t kLongestTitle = 200;
    if (order_.title.size() > kLongestTitle) throw Refused(400, "the title is too long");
  }

  void check_paths(const Json& options) const {
    for (const auto& [name, property] : forms_.schema(order_.kind).at("properties").items()) {
      if (!is_path(name, property) || !options.contains(name)) continue;
      const auto& value = options.at(name);
      if (value.is_string()) check_path(name, value.get<std::string>());
      if (!value.is_array()) continue;
      for (const auto& entry : value) check_path(name, entry.get<std::string>());
    }
  }

  /// The path may have =SCALE or =WORDS behind it.
  void check_path(const std::string& name, const std::string& text) const {
    if (text.empty()) return;
    if (is_written(name)) return free_place(name, text);
    if (name == "prior_folder") return (void)place_to_write(name, text);  // several runs share it
    const auto path = text.substr(0, text.rfind('='));
    const bool whole = path.size() == text.size() || exists(folder_.root() / fs::path(text));
    there(name, whole ? text : path);
  }

  void free_place(const std::string& name, const std::string& path) const {
    if (exists(place_to_write(name, path))) {
      throw Refused(409,
                    fmt::format("\"{}\" is {}, which is there already", name, printable(path)));
    }
    if (!order_.dry_run) refuse_claimed(claims_, fmt::format("\"{}\"", name), path);
  }

  fs::path place_to_write(const std::string& name, const std::string& path) const {
    auto place = folder_.inside(path, Access::kWrite);
    const auto top = path.substr(0, path.find('/'));
    if (top == "trash" || top == "concepts" || top == "jobs") {
      throw Refused(400, fmt::format("\"{}\" is {}: results go to gallery/, concept-files/, fused/ "
                                     "or uploads/",
                                     name, printable(path)));
    }
    return place;
  }

  void there(const std::string& name, const std::string& path) const {
    if (exists(folder_.inside(path))) return;
    throw Refused(400, fmt::format("\"{}\" is {}, which is not there", name, printable(path)));
  }

  static bool exists(const fs::path& path) {
    std::error_code ignored;
    return fs::exists(path, ignored);
  }

  void check_words() const {
    const std::size_t expected = takes_words(order_.kind) ? 1 : 0;
    if (order_.words.size() != expected) {
      throw Refused(400, fmt::format("mos {} takes {} in \"words\"", order_.kind,
                                     expected == 1 ? "one path" : "nothing"));
    }
    for (const auto& word : order_.words) there("words", word);
  }

  /// Its paths; mos sample reads the rest, and refuses what it does not know.
  void check_scene(const Json& scene) const {
    if (order_.kind != "sample" || !scene.is_object()) {
      throw Refused(400, "\"scene\" is an object, of mos sample alone");
    }
    check_scene_list(scene, "regions", {"mask"});
    check_scene_list(scene, "conditions", {"adapter", "picture"});
  }

  /// "from" takes up what the record of a picture says and the order does not: it names files too.
  void check_picture_before() {
    const auto picture = field<std::string>(order_.options, "from", "");
    if (picture.empty()) return;
    const auto record = reader_.ask({{"do", "record"}, {"file", picture}});
    auto taken = record.at("options");
    for (const auto& [name, value] : order_.options.items()) taken.erase(name);
    check_paths(taken);
    if (order_.scene.is_null()) check_scene(record.at("scene"));
  }

  /// What mos itself would say once the job's turn has come.
  void check_with_mos() {
    auto problems = problems_by_mos();
    if (!problems.empty()) throw Impossible(std::move(problems));
  }

  std::vector<std::string> problems_by_mos() {
    const Json request = {
        {"do", "job"}, {"kind", order_.kind}, {"options", order_.options}, {"scene", order_.scene}};
    try {
      return field<std::vector<std::string>>(reader_.ask(request, kCheckPatience), "problems", {});
    } catch (const Error&) {
      return {};  // hundreds of photos, say: nobody waits for them, and the job itself will tell
    }
  }

  void check_scene_list(const Json& scene, const char* list,
                        std::initializer_list<const char*> names) const {
    const auto entries = scene.find(list);
    if (entries == scene.end()) return;
    if (!entries->is_array()) throw Refused(400, fmt::format("\"{}\" must be a list", list));
    for (const auto& entry : *entries) {
      if (!entry.is_object()) throw Refused(400, fmt::format("\"{}\" holds objects", list));
      for (const char* name : names) {
        const auto path = field<std::string>(entry, name, "");
        if (!path.empty()) there(fmt::format("{}.{}", list, name), path);
      }
    }
  }

  /// <lora:NAME:SCALE> in any text: a name leads to a file, and mos itself takes it from anywhere.
  void check_lora_tags(const Json& value) const {
    if (value.is_structured()) {
      for (const auto& entry : value) check_lora_tags(entry);
    }
    if (!value.is_string()) return;
    constexpr std::string_view kTag = "<lora:";
    const auto text = value.get<std::string>(), lowered = lower_ascii(text);
    for (auto tag = lowered.find(kTag); tag != lowered.npos; tag = lowered.find(kTag, tag + 1)) {
      const auto begin = tag + kTag.size();
      const auto name = trimmed(text.substr(begin, text.find('>', begin) - begin));
      (void)folder_.inside("concept-files/" + name);
    }
  }

  void add_defaults() {
    const auto& properties = forms_.schema(order_.kind).at("properties");
    if (properties.contains("base") && !order_.options.contains("base") &&
        order_.kind != "convert") {
      order_.options["base"] = first_model();
    }
    if (properties.contains("lora_folder") && !order_.options.contains("lora_folder")) {
      order_.options["lora_folder"] = "concept-files";
    }
    order_.device = field<std::string>(order_.options, "device", "cpu");
    if (order_.title.empty()) order_.title = own_title();
    if (order_.kind == "tune" && !order_.options.contains("out") && !order_.dry_run) {
      (void)data_name();  // throws
      order_.options["out"] = runner_.place_to_tune(order_);
      order_.has_own_name = true;
    }
  }

  std::string first_model() const {
    const auto models = entries_of(folder_.root() / "models");
    if (models.empty()) {
      throw Refused(400,
                    "there is no base model: put one into models/ of the studio's folder, or "
                    "start mos studio with --base");
    }
    return "models/" + models.front().filename().string();
  }

  std::string data_name() const {
    const auto data = field<std::string>(order_.options, "data", "");
    if (data.empty()) throw Refused(400, "tuning needs \"data\", a folder of concepts/");
    return fs::path(data).filename().string();
  }

  std::string own_title() const {
    if (order_.kind == "tune") return data_name();
    const auto prompt = field<std::string>(order_.options, "prompt", "");
    const auto of_scene =
        order_.scene.is_object() ? field<std::string>(order_.scene, "prompt", "") : "";
    const auto title = prompt.empty() ? of_scene : prompt;
    return title.empty() ? order_.kind : printable(title);
  }

  Forms& forms_;
  const StudioFolder& folder_;
  Reader& reader_;
  Runner& runner_;
  JobOrder order_;
  Claims claims_;
};

/// "--key=value" as the command line reads it.
std::vector<std::string> flags_of(const Json& options) {
  std::vector<std::string> flags;
  for (const auto& [key, value] : options.items()) {
    if (value.is_null()) continue;
    auto text = value.is_string() ? value.get<std::string>() : value.dump();
    if (value.is_array()) {
      std::vector<std::string> parts;
      for (const auto& entry : value) {
        parts.push_back(entry.is_string() ? entry.get<std::string>() : entry.dump());
      }
      text = fmt::format("{}", fmt::join(parts, ","));
    }
    flags.push_back(fmt::format("--{}={}", replaced(key, "_", "-"), text));
  }
  return flags;
}

/// Of one that was only checked: there is no file of it.
std::vector<std::string> command_of_request(const JobOrder& order) {
  std::vector<std::string> command = {order.kind};
  auto options = order.options;
  if (order.kind == "fuse") {  // which takes concepts as words, and writes nowhere by itself
    for (auto& file : field<std::vector<std::string>>(options, "concepts", {})) {
      command.push_back(std::move(file));
    }
    options.erase("concepts");
    if (!options.contains("out") && !options.contains("lora")) options["out"] = "fused/model";
  }
  if (!order.scene.is_null()) options["scene"] = "scene.json";
  for (auto& flag : flags_of(options)) command.push_back(std::move(flag));
  if (order.dry_run) command.emplace_back("--dry-run");
  return command;
}

}  // namespace

Impossible::Impossible(std::vector<std::string> problems)
    : Refused(400, fmt::format("{}", fmt::join(problems, "; "))), problems_(std::move(problems)) {}

JobOrder make_order(const Json& request, const Parts& parts) {
  return OrderMaker(parts).make(request);
}

Json options_to_run(const Job& job) {
  auto options = job.order.options;
  const auto& kind = job.order.kind;
  const auto place = [&](const char* name, const std::string& path) {
    if (!options.contains(name)) options[name] = path;
  };
  if (kind == "tune") place("previews", job.folder() + "/previews");
  if (kind == "tune") place("prior_folder", kPriorFolder);  // beside the data: a concept, it seems
  // A run that began anew is gone on with when it is taken up again.
  if (kind == "tune" && !job.started.empty()) options.erase("fresh");
  if (kind == "tune" && job.order.dry_run) place("out", job.folder() + "/none.safetensors");
  if (kind == "fuse" && !options.contains("lora")) place("out", fmt::format("fused/{}", job.id));
  if (kind == "fuse") place("report", job.folder() + "/fusion_report.json");
  if (kind == "sample") place("out", fmt::format("gallery/{}.png", job.id));
  if (kind == "condition") place("out", fmt::format("uploads/{}.png", job.id));
  if (kind == "sample" && !job.order.scene.is_null())
    options["scene"] = job.folder() + "/scene.json";
  return options;
}

std::vector<std::string> command_of(const Job& job) {
  const auto& kind = job.order.kind;
  if (job.id == 0 && takes_config(kind)) return command_of_request(job.order);
  std::vector<std::string> command = {kind};
  if (takes_config(kind)) {
    command.insert(command.end(), {"--config", job.folder() + "/job.json"});
    if (job.order.dry_run) command.emplace_back("--dry-run");
    return command;
  }
  auto options = options_to_run(job);
  auto words = job.order.words;
  if (kind == "evaluate") {
    words = field<std::vector<std::string>>(options, "pictures", {});
    options.erase("pictures");
    command.emplace_back("--json");
  }
  command.insert(command.end(), words.begin(), words.end());
  const auto flags = flags_of(options);
  command.insert(command.end(), flags.begin(), flags.end());
  return command;
}

std::string command_text(const Job& job) {
  std::string text = "mos";
  for (const auto& part : command_of(job)) {
    const bool plain = part.find_first_not_of(
                           "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                           "0123456789-_./=,:") == part.npos;
    text += " " + (plain ? part : "'" + replaced(part, "'", R"('\'')") + "'");
  }
  return text;
}

void write_inputs(const Job& job, const StudioFolder& folder) {
  const auto place = folder.root() / job.folder();
  make_folders(place);
  if (!job.order.scene.is_null()) {
    write_text_file(place / "scene.json", json_text(job.order.scene, 2) + "\n");
  }
  write_text_file(place / "job.json", json_text(options_to_run(job), 2) + "\n");
}

}  // namespace mos::studio
