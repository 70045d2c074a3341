#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "mos/base/counts.h"

/// Pictures that painting begins with, and what is done with the result.
namespace mos::region {

/// Of a region that is painted again, unless somebody says otherwise: A1111's for masks.
inline constexpr double kRedoFeather = 4.0;

struct PictureOptions {
  std::string init;                ///< A picture to begin with; empty: noise.
  double strength = 0.75;          ///< Share of the steps that are taken from there.
  std::string mask;                ///< White is painted again, black stays; grey in between.
  double mask_feather = 0;         ///< Pixels over which the mask's edge is softened.
  std::vector<std::int64_t> grow;  ///< Pixels added at the left, top, right and bottom of `init`.
  std::string redo_region;         ///< Name or number of the region that is the mask.
  double hires = 1.0;              ///< A second pass on a canvas this many times as large.
  double hires_strength = 0.45;
  std::string hires_upscale = "latent";  ///< latent or lanczos.
  std::int64_t vae_tile = 0;             ///< Pixels; 0: the whole canvas at once.
  std::string init_sha256, mask_sha256;  ///< Of recorded pictures; else empty.

  bool operator==(const PictureOptions&) const = default;
};

template <class Visitor>
void describe_pictures(Visitor& visit, PictureOptions& options) {
  visit("init", options.init, "a picture to begin with (img2img)");
  visit("strength", options.strength, "share of the steps that are taken from it, above 0 to 1",
        between(0, 1));
  visit("mask", options.mask, "a picture: what is white in it is painted again, black stays");
  visit("mask_feather", options.mask_feather,
        "pixels over which the mask's edge is softened; that of redo_region on its inner side, 4 "
        "when this is not given",
        between(0, 1024));
  visit("grow", options.grow, "pixels to paint beyond the picture of init: left,top,right,bottom",
        count_of(0, kLargestSide / 2));
  visit("redo_region", options.redo_region,
        "name or number of a region of the picture to paint again; the rest stays");
  visit("hires", options.hires, "a second pass on a canvas this many times as large",
        between(1, 8));
  visit("hires_strength", options.hires_strength, "share of the steps that it takes",
        between(0, 1));
  visit("hires_upscale", options.hires_upscale, "latent or lanczos", one_of({"latent", "lanczos"}));
  visit("vae_tile", options.vae_tile, "pixels of the VAE's tiles for big canvases; 0: none",
        count_of(0, kLargestSide));
}

/// Share of the steps that the first pass takes. What a picture grows by is all noise at first.
double strength_of(const PictureOptions& options);

/// Throws kUsage naming the first option, or two that do not go together, that is impossible on any
/// model.
void check_picture_options(const PictureOptions& options);

}  // namespace mos::region
