#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <system_error>

#include "mos/base/base64.h"
#include "mos/base/file.h"
#include "mos/base/text.h"
#include "mos/studio/painting.h"

/// A1111's API, which most clients speak. Fields that it has and we do not are refused where they
/// would change the picture: clients send many with values that mean nothing.
namespace mos::studio {
namespace {

namespace fs = std::filesystem;

/// Fields that are passed over, whatever they say: about files of the server and the answer, and of
/// models for editing by words, which A1111 too reads for those alone.
constexpr std::array<std::string_view, 9> kPassedOver = {"image_cfg_scale",
                                                         "save_images",
                                                         "send_images",
                                                         "do_not_save_samples",
                                                         "do_not_save_grid",
                                                         "force_task_id",
                                                         "override_settings_restore_afterwards",
                                                         "sampler_index",
                                                         "disable_extra_networks"};

/// What a field is when it changes nothing, beside null, false, 0, "" and empty lists and objects.
const std::map<std::string, std::vector<Json>>& neutral_values() {
  static const std::map<std::string, std::vector<Json>> values = {
      {"subseed", {-1}},
      {"seed_resize_from_h", {-1}},
      {"seed_resize_from_w", {-1}},
      {"s_noise", {1, 1.0}},
      {"s_min_uncond", {0.0}},
      {"seed_enable_extras", {true}},
      {"resize_mode", {0, 1}},
      {"inpainting_fill", {1}},
      {"inpaint_full_res_padding", {32}},
      {"initial_noise_multiplier", {1, 1.0}},
      {"mask_blur_x", {4}},
      {"mask_blur_y", {4}},
      {"hr_upscaler", {"Latent"}},
      {"hr_negative_prompt", {""}},
      {"include_init_images", {true}},
      {"refiner_switch_at", {0.8}},
      {"hr_cfg", {1, 1.0}}};
  return values;
}

bool means_nothing(const std::string& key, const Json& value) {
  const bool empty = value.is_null() || value == false || value == "" ||
                     (value.is_number() && value.get<double>() == 0) ||
                     (value.is_structured() && value.empty());
  if (empty || std::ranges::find(kPassedOver, key) != kPassedOver.end()) return true;
  const auto found = neutral_values().find(key);
  return found != neutral_values().end() &&
         std::ranges::find(found->second, value) != found->second.end();
}

/// From a body of A1111 to one of POST /mos/v1/jobs.
class Translation {
 public:
  Translation(Parts& parts, Json body) : parts_(parts), body_(std::move(body)) {}

  Json request(bool from_picture) {
    copy("prompt", "prompt");
    copy("negative_prompt", "negative_prompt");
    for (const char* key : {"width", "height", "steps", "clip_skip"}) copy_positive(key);
    copy("cfg_scale", "guidance_scale");
    take_seed_and_count();
    take_sampler();
    take_eta();
    take_model();
    from_picture ? take_picture() : take_second_pass();
    take_ours();
    refuse_rest();
    return {{"kind", "sample"}, {"options", options_}, {"scene", scene_}};
  }

 private:
  Json take(const std::string& key) {
    const auto found = body_.find(key);
    if (found == body_.end()) return nullptr;
    auto value = *found;
    body_.erase(key);
    return value;
  }
  void copy(const std::string& key, const std::string& option) {
    auto value = take(key);
    if (!value.is_null()) options_[option] = std::move(value);
  }
  /// 0 is ours for "as the model has it", which nobody means who speaks this dialect.
  void copy_positive(const std::string& key) {
    const auto value = body_.value(key, Json());
    if (value.is_number() && value.get<double>() < 1) {
      throw Refused(400, fmt::format("\"{}\" is {}, expected 1 or more", key, quoted(value)));
    }
    copy(key, key);
  }
  std::int64_t whole(const std::string& key, std::int64_t fallback) {
    const auto value = field<std::int64_t>(body_, key, fallback);
    body_.erase(key);
    return value;
  }

  void take_seed_and_count() {
    const auto seed = whole("seed", -1);
    options_["seed"] = seed < 0 ? random_seed() : seed;
    const auto batch = whole("batch_size", 1), rounds = whole("n_iter", 1);
    check_count("batch_size", batch);
    check_count("n_iter", rounds);
    check_count("batch_size times n_iter", batch * rounds);
    options_["batch"] = batch;
    options_["count"] = batch * rounds;
  }

  void take_sampler() {
    auto sampler = field<std::string>(body_, "sampler_name", "");
    if (sampler.empty()) sampler = field<std::string>(body_, "sampler_index", "");
    body_.erase("sampler_name");
    if (!sampler.empty()) options_["scheduler"] = sampler;  // mos knows A1111's names
    const auto sigmas = lower_ascii(field<std::string>(body_, "scheduler", ""));
    body_.erase("scheduler");
    if (sigmas.empty()) return;
    for (const auto& [name, theirs] : sampler_names(parts_.forms).sigmas) {
      if (lower_ascii(theirs) == sigmas || name == sigmas) options_["sigmas"] = name;
    }
    if (!options_.contains("sigmas")) {
      throw Refused(400, "there is no scheduler " + printable(sigmas));
    }
  }

  /// As A1111 does it: of DDIM its own, of ancestral and SDE samplers the fresh noise, of others
  /// nothing. Clients send 1 with all of them.
  void take_eta() {
    const auto eta = take("eta");
    if (!eta.is_number()) return;
    const auto given = lower_ascii(options_.value("scheduler", ""));
    for (const auto& [name, theirs] : sampler_names(parts_.forms).schedulers) {
      if (name != given && lower_ascii(theirs) != given) continue;
      const bool is_random = name.ends_with("_a") || name.find("sde") != name.npos;
      if (name == "ddim") options_["eta"] = eta;
      if (is_random) options_["ancestral_eta"] = eta;
      return;
    }
  }

  void take_model() {
    auto settings = take("override_settings");
    if (!settings.is_object()) return;
    const auto name = field<std::string>(settings, "sd_model_checkpoint", "");
    settings.erase("sd_model_checkpoint");
    if (!settings.empty()) {
      throw Refused(400, fmt::format("override_settings.{} is not here", settings.begin().key()));
    }
    if (name.empty()) return;
    const auto path = model_named(parts_.folder, name);
    if (path.empty()) throw Refused(400, "there is no model " + printable(name));
    options_["base"] = path;
  }

  void take_second_pass() {
    const bool second = field<bool>(body_, "enable_hr", false);
    body_.erase("enable_hr");
    if (!second) {  // what its fields say means nothing then
      std::vector<std::string> theirs = {"denoising_strength"};
      for (const auto& [key, value] : body_.items()) {
        if (key.starts_with("hr_")) theirs.push_back(key);
      }
      for (const auto& key : theirs) body_.erase(key);
      return;
    }
    copy("hr_scale", "hires");
    if (!options_.contains("hires")) options_["hires"] = 2.0;
    copy("denoising_strength", "hires_strength");
  }

  void take_picture() {
    const auto pictures = field<std::vector<std::string>>(body_, "init_images", {});
    body_.erase("init_images");
    if (pictures.size() != 1) throw Refused(400, "init_images holds one picture here");
    options_["init"] = keep_upload(parts_, pictures.front(), "init_images");
    copy("denoising_strength", "strength");
    const auto mask = field<std::string>(body_, "mask", "");
    body_.erase("mask");
    if (mask.empty()) {
      for (const char* key : {"mask_blur", "inpaint_full_res", "inpainting_fill"}) body_.erase(key);
      return;
    }
    if (field<bool>(body_, "inpaint_full_res", false)) {
      throw Refused(
          400,
          "\"inpaint_full_res\" is true, but here the whole picture is seen while what is "
          "under the mask is painted: send false");
    }
    options_["mask"] = keep_upload(parts_, mask, "mask");
    copy("mask_blur", "mask_feather");
  }

  /// alwayson_scripts.mos: {"scene", "concept", "options"}.
  void take_ours() {
    auto scripts = take("alwayson_scripts");
    if (!scripts.is_object()) return;
    auto ours = scripts.value("mos", Json::object());
    scripts.erase("mos");
    if (!scripts.empty()) {
      throw Refused(400, fmt::format("there is no script {} here", scripts.begin().key()));
    }
    if (!ours.is_object()) throw Refused(400, "alwayson_scripts.mos must be an object");
    refuse_unknown_keys(ours, {"scene", "concept", "options"});
    scene_ = field<Json>(ours, "scene", nullptr);
    if (ours.contains("concept")) options_["concept"] = ours["concept"];
    const auto more = field<Json>(ours, "options", Json::object());
    if (!more.is_object()) throw Refused(400, "alwayson_scripts.mos.options must be an object");
    options_.update(more);
    // An empty prompt of a client does not take away the scene's.
    if (scene_.is_object() && options_.value("prompt", Json()) == "") options_.erase("prompt");
  }

  void refuse_rest() const {
    for (const auto& [key, value] : body_.items()) {
      if (means_nothing(key, value)) continue;
      throw Refused(400, fmt::format("\"{}\" is {}, which nothing here does", printable(key),
                                     printable(quoted(value))));
    }
  }

  Parts& parts_;
  Json body_;
  Json options_ = Json::object();
  Json scene_;
};

/// What A1111 puts into a JSON *string*.
std::string info_text(const Painted& painted) {
  const auto& options = painted.job.order.options;
  Json info = {{"prompt", options.value("prompt", Json(""))},
               {"negative_prompt", options.value("negative_prompt", Json(""))},
               {"seed", painted.seeds.empty() ? 0 : painted.seeds.front()},
               {"all_seeds", painted.seeds},
               {"infotexts", painted.infotexts},
               {"job", painted.job.id}};
  info["all_prompts"] = std::vector<Json>(painted.pictures.size(), info["prompt"]);
  return json_text(info);
}

/// The jobs that came by this API and are waited for: of others its clients neither ask nor end
/// anything.
class OwnJobs {
 public:
  void add(std::int64_t id) {
    const std::lock_guard lock(mutex_);
    ids_.insert(id);
  }
  void remove(std::int64_t id) {
    const std::lock_guard lock(mutex_);
    ids_.erase(id);
  }
  /// The one that runs, else the one that comes first; nothing where there is none.
  std::optional<Job> first(Parts& parts) {
    const auto queue = parts.runner.queue();
    const std::lock_guard lock(mutex_);
    for (const auto& job : queue) {
      if (ids_.contains(job.id)) return job;
    }
    return std::nullopt;
  }

 private:
  std::mutex mutex_;
  std::set<std::int64_t> ids_;
};

/// paint(), with its job among `own` meanwhile.
Painted paint_own(Parts& parts, OwnJobs& own, const Json& request) {
  std::int64_t painting = 0;
  const auto begin = [&](std::int64_t id) { own.add(painting = id); };
  try {
    auto painted = paint(parts, request, begin);
    own.remove(painting);
    return painted;
  } catch (...) {
    own.remove(painting);
    throw;
  }
}

Reply paint_for(Parts& parts, OwnJobs& own, const Call& call, bool from_picture) {
  const auto body = json_body(call, kMostPictureBytes);
  const auto painted = paint_own(parts, own, Translation(parts, body).request(from_picture));
  Json images = Json::array();
  for (const auto& bytes : painted.pictures) images.push_back(base64_encode(bytes));
  auto parameters = body;
  if (parameters.contains("init_images")) parameters["init_images"] = nullptr;
  if (parameters.contains("mask")) parameters["mask"] = nullptr;
  return json_reply({{"images", images}, {"parameters", parameters}, {"info", info_text(painted)}});
}

Json preview_of(Parts& parts, const Job& job) {
  if (job.previews.empty()) return nullptr;
  const auto path = parts.folder.root() / job.previews.back();
  std::error_code ignored;
  if (!fs::is_regular_file(path, ignored)) return nullptr;
  return base64_encode(read_whole_file(path));
}

/// A flag behind "?", as Python writes it or anybody.
bool flag(const Call& call, const std::string& name) {
  const auto found = call.query.find(name);
  if (found == call.query.end()) return false;
  const auto value = lower_ascii(found->second);
  if (value == "true" || value == "1") return true;
  if (value == "false" || value == "0") return false;
  throw Refused(400, fmt::format("{} is true or false", name));
}

Reply progress(Parts& parts, OwnJobs& own, const Call& call) {
  const bool no_picture = flag(call, "skip_current_image");
  auto job = own.first(parts);
  if (job && job->state != JobState::kRunning) job.reset();
  const auto known = job && job->progress.is_object() ? job->progress : Json::object();
  const auto number = [&known](const char* key) {
    const auto value = known.value(key, Json());
    return value.is_number() ? value.get<double>() : 0.0;
  };
  const auto step = number("step"), total = number("total");
  return json_reply({{"progress", total > 0 ? step / total : 0.0},
                     {"eta_relative", number("left")},
                     {"state",
                      {{"skipped", false},
                       {"interrupted", false},
                       {"job", job ? fmt::format("{}", job->id) : ""},
                       {"job_count", job ? 1 : 0},
                       {"job_no", 0},
                       {"sampling_step", static_cast<std::int64_t>(step)},
                       {"sampling_steps", static_cast<std::int64_t>(total)}}},
                     {"current_image", job && !no_picture ? preview_of(parts, *job) : Json()},
                     {"textinfo", known.value("stage", Json())}});
}

Reply interrupt(Parts& parts, OwnJobs& own, const Call& call) {
  (void)json_body(call);
  if (const auto job = own.first(parts)) (void)parts.runner.cancel(job->id);
  return json_reply(Json::object());
}

Reply samplers(Parts& parts) {
  Json list = Json::array();
  for (const auto& [name, theirs] : sampler_names(parts.forms).schedulers) {
    list.push_back({{"name", theirs}, {"aliases", {name}}, {"options", Json::object()}});
  }
  return json_reply(list);
}

Reply schedulers(Parts& parts) {
  Json list = Json::array();
  for (const auto& [name, theirs] : sampler_names(parts.forms).sigmas) {
    list.push_back({{"name", name}, {"label", theirs}, {"aliases", nullptr}});
  }
  return json_reply(list);
}

Reply models(Parts& parts) {
  Json list = Json::array();
  for (const auto& model : models_of(parts.folder)) {
    const auto path = model.at("path").get<std::string>();
    list.push_back({{"title", path},
                    {"model_name", fs::path(path).filename().string()},
                    {"hash", nullptr},
                    {"sha256", nullptr},
                    {"filename", path},
                    {"config", nullptr}});
  }
  return json_reply(list);
}

Reply loras(Parts& parts) {
  Json list = Json::array();
  for (const auto& path : concept_files_of(parts.folder)) {
    const auto name = fs::path(path).stem().string();
    list.push_back({{"name", name}, {"alias", name}, {"path", path}, {"metadata", Json::object()}});
  }
  return json_reply(list);
}

Reply options(Parts& parts) {
  const auto models = models_of(parts.folder);
  return json_reply({{"sd_model_checkpoint", models.empty() ? Json("") : models.front().at("path")},
                     {"samples_format", "png"}});
}

}  // namespace

std::vector<Route> a1111_routes(Parts& parts) {
  const std::string root = "/sdapi/v1/";
  const auto own = std::make_shared<OwnJobs>();
  const auto get = [&](const char* name, Reply (*handle)(Parts&)) {
    return Route{"GET", root + name, [&parts, handle](const Call&) { return handle(parts); }};
  };
  return {
      {"POST", root + "txt2img",
       [&parts, own](const Call& call) {
         return paint_for(parts, *own, call, /*from_picture=*/false);
       }},
      {"POST", root + "img2img",
       [&parts, own](const Call& call) {
         return paint_for(parts, *own, call, /*from_picture=*/true);
       }},
      {"POST", root + "interrupt",
       [&parts, own](const Call& call) { return interrupt(parts, *own, call); }},
      {"GET",
       root + "progress",
       [&parts, own](const Call& call) { return progress(parts, *own, call); },
       {"skip_current_image"}},
      get("samplers", samplers),
      get("schedulers", schedulers),
      get("sd-models", models),
      get("loras", loras),
      get("options", options),
  };
}

}  // namespace mos::studio
