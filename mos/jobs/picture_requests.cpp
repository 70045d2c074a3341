#include "mos/jobs/picture_requests.h"

#include <fmt/core.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <exception>
#include <set>

#include "mos/base/describe.h"
#include "mos/base/error_names.h"
#include "mos/base/file.h"
#include "mos/concepts/describe.h"
#include "mos/diffusion/model.h"
#include "mos/fuse/method.h"
#include "mos/fuse/options.h"
#include "mos/io/image.h"
#include "mos/io/tensor_file.h"
#include "mos/jobs/job_check.h"
#include "mos/jobs/pictures.h"
#include "mos/session/from_picture.h"
#include "mos/session/inspect.h"
#include "mos/session/sample_defaults.h"
#include "mos/tune/mask.h"
#include "mos/tune/plan.h"
#include "mos/tune/trainer.h"

namespace mos::jobs {
namespace {

Json size_json(const torch::Tensor& pixels) {
  return {{"width", pixels.size(1)}, {"height", pixels.size(0)}};
}

Json look_at_concept(const Json& request) {
  PicturesJob job{.data = json_required<std::string>(request, "folder"),
                  .base = json_value<std::string>(request, "base", "")};
  read_options(json_value<Json>(request, "options", Json::object()), "the request", job);
  return look_at_pictures(job);
}

Json check_picture(const Json& request) {
  const auto file = json_required<std::string>(request, "file");
  const auto pixels = io::read_image(file).pixels;
  const auto of = json_value<std::string>(request, "mask_of", "");
  if (of.empty()) return size_json(pixels);
  const auto picture = io::read_image(of).pixels;
  const auto read = tune::mask_of_image(pixels, picture.size(0), picture.size(1));
  if (read.problem.empty()) return size_json(pixels);
  throw Error(ErrorKind::kFormat, fmt::format("{} {}", file, read.problem));
}

/// What would end the job before it has done anything.
Json check_job(const Json& request) {
  return {{"problems", problems_of({.kind = json_required<std::string>(request, "kind"),
                                    .options = json_value<Json>(request, "options", Json::object()),
                                    .scene = json_value<Json>(request, "scene", nullptr)})}};
}

Json make_thumbnail(const Json& request) {
  const auto side = json_required<std::int64_t>(request, "side");
  const auto pixels =
      io::to_rgb(io::read_image(json_required<std::string>(request, "file")).pixels);
  const auto height = pixels.size(0), width = pixels.size(1);
  const auto factor =
      std::min(1.0, static_cast<double>(side) / static_cast<double>(std::max(height, width)));
  const auto scaled = [factor](std::int64_t length) {
    return std::max<std::int64_t>(1, std::llround(static_cast<double>(length) * factor));
  };
  const std::filesystem::path out = json_required<std::string>(request, "out");
  make_folders(out.parent_path());
  const auto small = io::resize_area(pixels, scaled(height), scaled(width));
  io::write_png(out, small);
  return size_json(small);
}

/// What the model of a picture wishes to be painted with, where it is there and says so.
region::SampleOptions wishes_of(const std::string& base) {
  try {
    return session::sample_defaults(base);
  } catch (const Error&) {
    return {};  // nobody asked for the model: what is wrong with it is told when it is opened
  }
}

/// Whether forms need option `name` even where it is the program's default: they lay options over
/// what some model wishes, which a picture that says nothing of it would take up.
bool is_always_told(const session::FromPicture& from, const std::string& name) {
  static const std::set<std::string> wished = {"seed", "steps", "guidance_scale", "scheduler",
                                               "perturbed_attention"};
  // No model wishes for a picture to begin with.
  static const std::set<std::string> of_start = {"init",         "mask", "strength",
                                                 "mask_feather", "grow", "redo_region"};
  return wished.contains(name) || (!from.base && !of_start.contains(name));
}

/// The options that are others than those of a new picture on any model.
Json changed_options(const session::FromPicture& from) {
  const auto usual = write_options(region::SampleOptions{});
  const auto of_model = from.base ? write_options(wishes_of(*from.base)) : usual;
  auto changed = write_options(from.options);
  for (const auto& [name, value] : usual.items()) {
    const bool is_usual = changed[name] == value && of_model.at(name) == value;
    if (is_usual && !is_always_told(from, name)) changed.erase(name);
  }
  const auto plainly = write_options(checkpoint::ReadOptions{});
  const auto read = write_options(from.read);
  for (const auto& [name, value] : read.items()) {
    if (plainly.at(name) != value) changed[name] = value;
  }
  return changed;
}

Json read_record(const Json& request) {
  const auto file = json_required<std::string>(request, "file");
  const auto texts = io::read_image(file).text;
  const auto from = session::read_from_picture(file);
  auto options = changed_options(from);
  if (from.base) options["base"] = *from.base;
  if (from.device) options["device"] = *from.device;
  if (from.dtype) options["dtype"] = *from.dtype;
  for (const auto& use : from.concepts) {
    options["concept"].push_back(use.scale == 1.0 ? use.file
                                                  : fmt::format("{}={}", use.file, use.scale));
  }
  auto scene = from.scene.is_object() ? from.scene : Json::object();
  // A form has no place for LoRA without files but the prompt.
  for (const auto& lora : from.loras) {
    const auto tag = fmt::format(" <lora:{}:{}>", lora.name, lora.scale);
    scene["prompt"] = json_value<std::string>(scene, "prompt", "") + tag;
  }
  const auto parameters = texts.find("parameters");
  const auto* program = texts.contains(session::kRecordKeyword) ? "mos"
                        : parameters != texts.end()             ? "A1111"
                                                                : "ComfyUI";
  return {{"options", options},
          {"scene", scene},
          {"program", program},
          {"left_out", from.left_out},
          {"infotext", parameters == texts.end() ? "" : parameters->second}};
}

Json describe_concept_file(const Json& request) {
  const auto file = io::read_tensor_file(json_required<std::string>(request, "file"));
  const auto known = concepts::describe_concept(file);
  if (!known) {
    throw Error(ErrorKind::kFormat, "this is neither a concept nor a LoRA nor an embedding");
  }
  Json words = Json::array();
  const auto found = known->value("words", Json::object());
  for (const auto& [word, rows] : found.items()) words.push_back(word);
  const auto dialects = known->value("dialects", Json::array());
  return {{"words", words}, {"made_by", dialects.empty() ? Json() : dialects.front()}};
}

Json describe_model(const Json& request) {
  const auto file = json_required<std::string>(request, "file");
  const auto found = session::inspect(file);
  const auto kind = found.value("kind", "");
  if (kind == "T2I-Adapter" || kind == "ControlNet") return {{"kind", "adapter"}};
  return {{"kind", "base"},
          {"words", found.value("words", Json::array())},
          {"size", tune::canvas_size(diffusion::Model::shapes(file), {})}};
}

/// What each way to merge does, in a line.
Json help_of_merging() {
  Json help = Json::object();
  for (const auto& info : fuse::methods()) help[std::string(info.name)] = info.help;
  return help;
}

/// What each method trains, in a line, and whose it is.
Json help_of_tuning() {
  Json help = Json::object();
  for (const auto& method : tune::methods()) {
    help[std::string(method.name)] = fmt::format("{} ({})", method.summary, method.source);
  }
  return help;
}

Json list_methods(const Json&) {
  Json fuse = Json::object();
  for (const auto& info : fuse::methods()) {
    const auto method = info.make();
    auto options = fuse::options_of(*method);
    if (method->needs().inputs != fuse::Recorded::kNothing) {
      options.update(write_options(fuse::RecordOptions{}));
    }
    auto& names = fuse[std::string(info.name)] = Json::array();
    for (const auto& [name, value] : options.items()) names.push_back(name);
  }
  return {{"fuse", fuse}, {"help", {{"fuse", help_of_merging()}, {"tune", help_of_tuning()}}}};
}

struct Request {
  std::string_view name;
  Json (*answer)(const Json&);
};
constexpr std::array kRequests = {
    Request{"concept", look_at_concept}, Request{"check", check_picture},
    Request{"job", check_job},           Request{"thumbnail", make_thumbnail},
    Request{"record", read_record},      Request{"concept_file", describe_concept_file},
    Request{"model", describe_model},    Request{"methods", list_methods}};

Json error_json(const std::string& kind, const std::string& message) {
  return {{"error", {{"kind", kind}, {"message", message}}}};
}

Json answer_line(const std::string& line) {
  try {
    return answer_request(parse_json(line, "the request"));
  } catch (const Error& error) {
    return error_json(choice_name(error.kind()), error.what());
  } catch (const std::exception& error) {
    const std::string message = error.what();
    return error_json("io", message.substr(0, message.find('\n')));
  }
}

bool write_line(const std::string& text) {
  for (std::size_t sent = 0; sent < text.size();) {
    const auto count = write(STDOUT_FILENO, text.data() + sent, text.size() - sent);
    if (count <= 0) return false;
    sent += static_cast<std::size_t>(count);
  }
  return true;
}

}  // namespace

Json answer_request(const Json& request) {
  const auto name = json_required<std::string>(request, "do");
  for (const auto& known : kRequests) {
    if (name == known.name) return known.answer(request);
  }
  throw Error(ErrorKind::kUsage, "there is no request " + name);
}

void answer_requests() {
  constexpr int kIdleMilliseconds = 30000;
  std::string text;
  while (true) {
    pollfd waited{STDIN_FILENO, POLLIN, 0};
    if (poll(&waited, 1, kIdleMilliseconds) <= 0) return;
    std::array<char, 65536> bytes;
    const auto count = read(STDIN_FILENO, bytes.data(), bytes.size());
    if (count <= 0) return;
    text.append(bytes.data(), static_cast<std::size_t>(count));
    for (auto end = text.find('\n'); end != text.npos; end = text.find('\n')) {
      const auto answer = answer_line(text.substr(0, end));
      text.erase(0, end + 1);
      if (!write_line(json_text(answer) + "\n")) return;
    }
  }
}

}  // namespace mos::jobs
