#pragma once

#include <gtest/gtest.h>
#include <torch/types.h>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "mos/base/json.h"

/// Access to the outputs of the reference implementation. The folder is tests/golden/data, or
/// whatever MOS_GOLDEN names: the tests read every size from it.
namespace mos::golden {

std::filesystem::path directory();

/// The path of `name`, or nothing when this folder has no such file.
std::optional<std::filesystem::path> find(const std::string& name);

using Names = std::vector<std::string>;

/// Those of `names` that this folder lacks, as a reason to skip a test; empty when it has all.
std::string missing(const Names& names);

/// What loading tiny_sd reads, and `more`.
Names model_and(Names more = {});

/// 20 times the difference between float32 and float64 in the reference itself; `fallback` is the
/// floor (not the tolerance) of quantities that the folder has no measurement of.
double tolerance(const std::string& quantity, double fallback_floor = 2e-6);

/// Largest |actual - expected|, both as float64. Fails the test when the shapes differ.
double max_abs_difference(const torch::Tensor& actual, const torch::Tensor& expected);

}  // namespace mos::golden
