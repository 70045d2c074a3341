#include <fmt/core.h>

#include <array>
#include <cmath>
#include <filesystem>
#include <sstream>

#include "command.h"
#include "mos/base/counts.h"
#include "mos/base/describe.h"
#include "mos/base/maker.h"
#include "mos/base/outputs.h"
#include "mos/base/record.h"
#include "mos/base/text.h"
#include "mos/io/image.h"
#include "mos/region/region.h"
#include "mos/session/output_kinds.h"
#include "mos/world/compositor.h"
#include "mos/world/keypose.h"
#include "mos/world/sample_concepts.h"
#include "mos/world/vocabulary.h"

namespace mos::app {
namespace {

namespace fs = std::filesystem;

struct Places {
  std::string sprites, out;
};

template <class Visitor>
void describe(Visitor& visit, Places& places) {
  visit("sprites", places.sprites, "folder of the artwork", a_path());
  visit("out", places.out, "the folder or picture to write", a_path());
}

fs::path required(const std::string& value, const char* name) {
  if (!value.empty()) return value;
  throw Error(ErrorKind::kUsage, fmt::format("mos world needs --{}; see mos world --help", name));
}

fs::path take_out(Flags& flags) { return required(flags.take("out").value_or(""), "out"); }
fs::path take_sprites(Flags& flags) {
  return required(flags.take("sprites").value_or(""), "sprites");
}

void write_concepts(Flags& flags) {
  const auto sprites = take_sprites(flags), out = take_out(flags);
  flags.refuse_unknown();
  world::write_sample_concepts(sprites, out);
  for (const auto& sample : world::sample_concepts()) {
    fmt::print("{}\n", (out / sample.name).string());
  }
}

void write_study(Flags& flags) {
  const auto sprites = take_sprites(flags), out = take_out(flags);
  flags.refuse_unknown();
  world::write_study_concepts(sprites, out);
  for (const auto& [sample, set] : world::study_concepts()) {
    fmt::print("{}\n", (out / set / sample.name).string());
  }
}

void write_vocabulary(Flags& flags) {
  const auto out = take_out(flags);
  flags.refuse_unknown();
  world::write_vocabulary(out);
  fmt::print("{}\n", out.string());
}

/// Throws where no picture can be written.
void check_picture(const fs::path& out) {
  Outputs outputs;
  outputs.write(FileOutput{.name = "--out", .path = out, .kind = session::picture_kind()});
  outputs.check();
}

struct SheetOptions {
  std::int64_t pictures = 64;
  std::int64_t columns = 8;
  std::int64_t canvas = 0;
  bool held_out = false;
  world::WorldOptions world;
};

template <class Visitor>
void describe(Visitor& visit, SheetOptions& options) {
  visit("pictures", options.pictures, "pictures on the sheet", count_of(1, kMostAtATime));
  visit("columns", options.columns, "pictures in a row", count_of(1, kMostAtATime));
  visit("canvas", options.canvas, "which of the kinds of canvases, counted from 0",
        count_of(0, kMostAtATime));
  visit("held_out", options.held_out, "those that pretraining measures on, not those it sees");
  describe(visit, options.world);
}

void write_sheet(Flags& flags) {
  const auto sprites = take_sprites(flags), out = take_out(flags);
  SheetOptions options;
  flags.read(options);
  flags.refuse_unknown();
  check_picture(out);
  // The kinds of canvases are known once there is a world.
  const world::Compositor compositor(world::make_world(options.world), sprites);
  const auto kinds = static_cast<std::int64_t>(compositor.world().canvases.size());
  if (options.canvas < 0 || options.canvas >= kinds) {
    throw Error(ErrorKind::kUsage, fmt::format("--canvas is {}, but the world has canvases 0 to {}",
                                               options.canvas, kinds - 1));
  }
  const world::PictureKey first{options.held_out ? world::Split::kHeldOut : world::Split::kTrain, 0,
                                static_cast<std::size_t>(options.canvas)};
  io::write_png(out, world::contact_sheet(compositor, first, options.pictures, options.columns),
                {{kProgramKey, maker_record("mos world")}});
  fmt::print("{}\n", out.string());
}

/// `[top, left, bottom, right]-left` or `…-right`.
world::Pose pose_from(const std::string& text, region::Canvas canvas) {
  const auto close = text.find("]-");
  const auto facing = close == std::string::npos ? "" : text.substr(close + 2);
  if (!text.starts_with('[') || (facing != "left" && facing != "right")) {
    throw Error(
        ErrorKind::kUsage,
        fmt::format("--boxes has \"{}\", expected [top, left, bottom, right]-left, or -right "
                    "for a subject that looks there",
                    text));
  }
  std::vector<double> numbers;
  for (const auto& part : split_list(text.substr(1, close - 1))) {
    const auto number = number_in<double>(part);
    if (!number) {
      throw Error(ErrorKind::kUsage, fmt::format("--boxes got \"{}\", but expects a number", part));
    }
    numbers.push_back(*number);
  }
  const auto box = region::make_box(numbers, canvas);
  const auto pixels = [](double share, std::int64_t side) {
    return std::llround(share * static_cast<double>(side));
  };
  return {{.top = pixels(box.top, canvas.height),
           .left = pixels(box.left, canvas.width),
           .bottom = pixels(box.bottom, canvas.height),
           .right = pixels(box.right, canvas.width)},
          facing == "left" ? world::Pose::Facing::kLeft : world::Pose::Facing::kRight};
}

struct PoseOptions {
  std::string boxes;
  std::int64_t height = 128, width = 128;
};

template <class Visitor>
void describe(Visitor& visit, PoseOptions& options) {
  visit("boxes", options.boxes, "[top, left, bottom, right]-left or -right, separated by |");
  visit("height", options.height, "of the picture, in pixels", count_of(1, kLargestSide));
  visit("width", options.width, "of the picture, in pixels", count_of(1, kLargestSide));
}

void write_poses(Flags& flags) {
  const auto out = take_out(flags);
  PoseOptions options;
  flags.read(options);
  flags.refuse_unknown();
  const region::Canvas canvas{options.height, options.width};
  if (options.boxes.empty()) throw Error(ErrorKind::kUsage, "mos world poses needs --boxes");
  std::vector<world::Pose> poses;
  std::istringstream parts(options.boxes);
  for (std::string part; std::getline(parts, part, '|');) poses.push_back(pose_from(part, canvas));
  check_picture(out);
  io::write_png(out, world::keypose_picture(poses, canvas.height, canvas.width),
                {{kProgramKey, maker_record("mos world")}});
  fmt::print("{}\n", out.string());
}

struct Part {
  const char* name;
  const char* usage;
  const char* summary;
  void (*run)(Flags&);
};

constexpr std::array kParts = {
    Part{"concepts", "--sprites DIR --out DIR", "the sample concepts, as mos tune reads them",
         write_concepts},
    Part{"study", "--sprites DIR --out DIR", "the concepts of mos study, by the set they are in",
         write_study},
    Part{"vocabulary", "--out DIR", "the tokenizer, in CLIP's format", write_vocabulary},
    Part{"sheet", "--sprites DIR --out FILE.png", "pictures that pretraining sees, in a grid",
         write_sheet},
    Part{"poses", "--boxes BOXES --out FILE.png",
         "where subjects stand, for the base's keypose adapter", write_poses},
};

std::string help_of_world() {
  std::string text = "usage: mos world PART [options]\n\n";
  for (const auto& part : kParts) {
    text += fmt::format("  {:<10} {:<30} {}\n", part.name, part.usage, part.summary);
  }
  return text + "\n" + flag_help<Places>() + "\nOptions of a sheet:\n" + flag_help<SheetOptions>() +
         "\nOptions of poses:\n" + flag_help<PoseOptions>();
}

int run_world(Flags& flags, const Terminal&) {
  if (flags.words().size() != 1) {
    fmt::print("{}", help_of_world());
    return exit_code(ErrorKind::kUsage);
  }
  const auto& wanted = flags.words().front();
  std::vector<std::string> names;
  for (const auto& part : kParts) {
    names.emplace_back(part.name);
    if (wanted != part.name) continue;
    part.run(flags);
    return 0;
  }
  throw Error(ErrorKind::kUsage,
              fmt::format("mos world has no part {}{}", wanted, did_you_mean(wanted, names)));
}

}  // namespace

const Command kWorld = {.name = "world",
                        .summary = "sample concepts and pictures of the world it is trained on",
                        .options = options_of<Places, SheetOptions, PoseOptions>,
                        .help = help_of_world,
                        .run = run_world};

}  // namespace mos::app
