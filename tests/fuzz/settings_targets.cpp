#include <fmt/core.h>

#include <cmath>

#include "mos/base/describe.h"
#include "mos/base/json.h"
#include "mos/checkpoint/ldm_settings.h"
#include "mos/checkpoint/reference_models.h"
#include "mos/diffusion/noise_schedule.h"
#include "mos/diffusion/scheduler.h"
#include "mos/fuse/fuse_concepts.h"
#include "mos/nn/clip.h"
#include "mos/nn/controlnet.h"
#include "mos/nn/parameter.h"
#include "mos/nn/t2i_adapter.h"
#include "mos/nn/unet.h"
#include "mos/nn/vae.h"
#include "mos/region/region.h"
#include "mos/region/sample.h"
#include "mos/tune/options.h"
#include "tests/fuzz/fuzz.h"

namespace mos::fuzz {
namespace {

constexpr region::Canvas kCanvas{512, 768};

// ---- Regions ----

void check_box(const region::Box& box) {
  promise(box.top >= 0 && box.left >= 0 && box.bottom <= 1 && box.right <= 1 &&
              box.top < box.bottom && box.left < box.right,
          "a box outside the canvas");
}

void run_scene(std::string_view bytes) {
  const auto scene = region::scene_from_json(parse_json(bytes, "input"), "input", kCanvas);
  for (const auto& region : scene.regions) {
    check_box(region.box);
    promise(region.weight > 0 && region.weight <= 1, "an impossible weight");
  }
  const auto json = region::scene_to_json(scene);
  const auto again = region::scene_from_json(json, "again", kCanvas);
  promise(region::scene_to_json(again) == json, "a scene does not come back");
}

std::vector<std::string> scene_seeds() {
  return {R"({"prompt": "two people", "negative_prompt": "", "height": 512, "width": 768,
              "regions": [{"prompt": "<a1>", "negative_prompt": "x", "box": [0, 0.5, 1, 1],
                           "weight": 0.5}, {"prompt": "<b1>", "box": [100, 10, 500, 300]}],
              "conditions": [{"adapter": "a", "picture": "p.png", "weight": 0.5, "start": 0,
                              "end": 0.5, "guess_mode": true,
                              "boxes": [{"box": [0, 0, 256, 256], "weight": 2}]}]})"};
}

void run_regions(std::string_view bytes) {
  const std::string text(bytes);
  try {
    for (const auto& weight : region::parse_box_weights(text, kCanvas)) {
      check_box(weight.box);
      promise(std::isfinite(weight.weight), "a weight that is no number");
    }
  } catch (const Error&) {  // it may be regions
  }
  for (const auto& region : region::parse_prompt_rewrite(text, kCanvas)) check_box(region.box);
}

std::vector<std::string> regions_seeds() {
  return {"[a <a1> man]-*-[low quality]-*-[12, 36, 500, 700]|[<b1>]-*-[]-*-[0, 0, 1, 0.5]",
          "[0, 0, 256, 256]-0.5|[1,2,3,4]-2"};
}

// ---- Configurations ----

/// The first byte chooses what the rest configures.
void run_config(std::string_view bytes) {
  if (bytes.empty()) return;
  const auto json = parse_json(bytes.substr(1), "input");
  if (!json.is_object()) return;  // their callers have refused it
  const nn::ShapesOnly no_memory;
  switch (bytes[0]) {
    case 'u':
      nn::UNet2DConditionModel(nn::UNetConfig::from_json(json));
      break;
    case 'v':
      nn::AutoencoderKL(nn::VaeConfig::from_json(json));
      break;
    case 't':
      nn::CLIPTextModel(nn::ClipTextConfig::from_json(json));
      break;
    case 'c':
      nn::CLIPModelImpl::from_json(json);
      break;
    case 'n':
      nn::ControlNetModel(nn::ControlNetConfig::from_json(json));
      break;
    case 'a':
      nn::T2IAdapter(nn::T2IAdapterConfig::from_json(json));
      break;
    default:
      diffusion::NoiseSchedule::from_config(json);
      diffusion::make_scheduler("", json, {});
      break;
  }
}

std::vector<std::string> config_seeds() {
  using enum checkpoint::Part;
  const auto configs = checkpoint::reference_configs("sd15");
  std::vector<std::string> seeds;
  for (const auto& [letter, json] :
       {std::pair('u', configs.networks.at(kUNet)), std::pair('v', configs.networks.at(kVae)),
        std::pair('t', configs.networks.at(kTextEncoder)),
        std::pair('n', configs.networks.at(kUNet)), std::pair('s', configs.scheduler)}) {
    // Smaller: a network of full size takes a tenth of a second.
    auto small = json;
    for (const auto* key : {"block_out_channels", "down_block_types", "up_block_types"}) {
      if (small.contains(key)) small[key].erase(small[key].begin(), small[key].end() - 2);
    }
    seeds.push_back(letter + small.dump());
  }
  seeds.push_back(
      "c{\"projection_dim\": 8, \"text_config\": {\"num_hidden_layers\": 2}, "
      "\"vision_config\": {\"num_hidden_layers\": 2}}");
  seeds.push_back(
      "a{\"adapter_type\": \"full_adapter\", \"channels\": [32, 64], "
      "\"downscale_factor\": 8, \"in_channels\": 3, \"num_res_blocks\": 2}");
  return seeds;
}

/// Options as --config and records give them: every number that is taken is one.
void run_options(std::string_view bytes) {
  const auto json = parse_json(bytes, "input");
  const auto attempt = [](const auto& action) {
    try {
      action();
    } catch (const Error&) {
    }
  };
  attempt([&] {
    region::SampleOptions options;
    read_options(json, "input", options);
    region::check_options(options);
    promise(write_options(options) == write_options(options), "options with NaN");
  });
  attempt([&] {
    fuse::FuseOptions options;
    read_options(json, "input", options);
  });
  tune::TuneOptions options;
  read_options(json, "input", options);
  tune::check_options(options);
  auto again = tune::TuneOptions();
  read_options(write_options(options), "again", again);
  promise(write_options(again) == write_options(options), "options do not come back");
}

std::vector<std::string> options_seeds() {
  return {write_options(tune::TuneOptions()).dump(), write_options(region::SampleOptions()).dump(),
          write_options(fuse::FuseOptions()).dump(), "{}"};
}

/// The configuration of an original checkpoint.
void run_ldm_config(std::string_view bytes) {
  const auto config = checkpoint::read_ldm_config(scratch_file("model.yaml", bytes));
  promise(std::isfinite(config.linear_start) && std::isfinite(config.scale_factor),
          "a number that is none");
}

std::vector<std::string> ldm_config_seeds() {
  return {
      "model:\n  params:\n    parameterization: \"v\"\n    linear_start: 0.00085\n"
      "    linear_end: 0.0120\n    timesteps: 1000\n    scale_factor: 0.18215\n"
      "    cond_stage_config:\n      target: x.FrozenOpenCLIPEmbedder\n      params:\n"
      "        layer: \"penultimate\"\n"};
}

}  // namespace

std::vector<Target> settings_targets() {
  const std::vector<std::string> json_words = {
      "{", "}", "[", "]", ",", ":", "\"", "null", "true", "\"a\":", "-", ".", "e", "0.5", "\xff"};
  const std::vector<std::string> region_words = {"-*-", "|",   "[",   "]", ", ", "-",    ".",
                                                 "e",   "nan", "inf", "+", "0x", "\xff", "1e999"};
  const std::vector<std::string> yaml_words = {"\n", "  ", ": ", "- ", "[", "{", "\"", "&a ", "*a"};
  return {{"scene", run_scene, scene_seeds, json_words},
          {"regions", run_regions, regions_seeds, region_words},
          {"config", run_config, config_seeds, json_words},
          {"options", run_options, options_seeds, json_words},
          {"ldm_config", run_ldm_config, ldm_config_seeds, yaml_words}};
}

}  // namespace mos::fuzz
