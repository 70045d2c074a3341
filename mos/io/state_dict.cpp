#include "mos/io/state_dict.h"

#include <fmt/format.h>
#include <torch/nn/module.h>

#include <utility>

#include "mos/base/error.h"
#include "mos/base/text.h"
#include "mos/io/finite.h"
#include "mos/io/names.h"

namespace mos::io {
namespace {

const std::string& shown(const std::string& origin) {
  static const std::string kUnnamed = "the file";
  return origin.empty() ? kUnnamed : origin;
}

bool allows(const KeyPredicate& predicate, const std::string& key) {
  return predicate && predicate(key);
}

/// The module's own tensors, not detached from it.
StateDict parameters_and_buffers(const torch::nn::Module& module) {
  StateDict dict;
  for (const auto& entry : module.named_parameters()) dict[entry.key()] = entry.value();
  for (const auto& entry : module.named_buffers()) {
    if (entry.value().defined()) dict[entry.key()] = entry.value();
  }
  return dict;
}

struct Copy {
  std::string key;  ///< Of the file.
  torch::Tensor target, source;
};

/// What fits, and the fate of every key.
struct LoadPlan {
  std::vector<Copy> copies;
  LoadReport report;
  bool acceptable = true;
};

/// Takes the tensors that fit out of `dict`.
LoadPlan plan_load(StateDict unfilled, StateDict& dict, const LoadOptions& options) {
  LoadPlan plan;
  for (auto& [key, tensor] : dict) {
    // A key of today stays as it is, even where a rule of older names would match a part of it.
    const auto name = unfilled.contains(key) ? key : canonical_key(key);
    const auto target = unfilled.find(name);
    if (target == unfilled.end()) {
      if (is_ignorable_buffer(key)) {
        plan.report.ignored.push_back(key);
        continue;
      }
      plan.report.unexpected.push_back(key);
      plan.acceptable = plan.acceptable && allows(options.allow_unexpected, key);
      continue;
    }
    if (target->second.sizes() == tensor.sizes()) {
      plan.copies.push_back({key, target->second, std::move(tensor)});
      plan.report.loaded.push_back(key);
    } else {
      plan.report.mismatched.push_back(fmt::format("{} ({} in the file, {} in the model)", key,
                                                   shape_text(tensor.sizes()),
                                                   shape_text(target->second.sizes())));
      plan.acceptable = false;
    }
    // A second key for the same target then is unexpected: an old and a new name of one tensor.
    unfilled.erase(target);
  }
  for (const auto& [name, tensor] : unfilled) {
    // Constants, which the module has made itself.
    if (is_ignorable_buffer(name)) continue;
    plan.report.missing.push_back(name);
    plan.acceptable = plan.acceptable && allows(options.allow_missing, name);
  }
  return plan;
}

LoadPlan acceptable_plan(const torch::nn::Module& module, StateDict& dict,
                         const LoadOptions& options) {
  auto plan = plan_load(parameters_and_buffers(module), dict, options);
  if (!plan.acceptable) {
    throw Error(ErrorKind::kMismatch,
                fmt::format("the tensors of {} do not fit {}: {}", shown(options.origin),
                            module.name(), plan.report.summary()));
  }
  return plan;
}

}  // namespace

KeyPredicate matches_any(std::vector<std::string> patterns) {
  return [patterns = std::move(patterns)](const std::string& key) {
    for (const auto& pattern : patterns) {
      if (matches_pattern(key, pattern)) return true;
    }
    return false;
  };
}

std::string shape_text(torch::IntArrayRef shape) {
  return fmt::format("[{}]", fmt::join(shape.begin(), shape.end(), ", "));
}

std::string LoadReport::summary() const {
  auto text = fmt::format("{} loaded", loaded.size());
  const auto add = [&text](const char* label, const std::vector<std::string>& keys) {
    if (!keys.empty()) text += fmt::format("; {} {}: {}", keys.size(), label, listed(keys));
  };
  add("missing", missing);
  add("unexpected", unexpected);
  add("of another shape", mismatched);
  return text;
}

LoadReport load_into(torch::nn::Module& module, StateDict dict, const LoadOptions& options) {
  auto plan = acceptable_plan(module, dict, options);
  torch::NoGradGuard no_grad;
  for (auto& [key, target, source] : plan.copies) {
    if (options.new_memory) {
      const auto dtype = options.new_dtype.value_or(source.scalar_type());
      target.set_data(
          torch::empty(source.sizes(), torch::TensorOptions(*options.new_memory).dtype(dtype)));
    }
    // Looked at while it passes through the cache anyway: a pass of its own would double the time
    // of loading.
    if (!copy_finite(target, source)) throw_not_finite(shown(options.origin), key);
    // Pages of a mapped file go back to the system one tensor after the other.
    source.reset();
  }
  return std::move(plan.report);
}

void share_weights(const torch::nn::Module& from, torch::nn::Module& to) {
  auto weights = state_dict_of(from);
  auto plan =
      acceptable_plan(to, weights, {.allow_unexpected = matches_any({"*"}), .origin = from.name()});
  for (auto& [key, target, source] : plan.copies) target.set_data(source);
}

LoadReport compare(const torch::nn::Module& module, const StateDict& dict) {
  auto handles = dict;
  return plan_load(parameters_and_buffers(module), handles, {}).report;
}

StateDict state_dict_of(const torch::nn::Module& module) {
  auto dict = parameters_and_buffers(module);
  for (auto& [name, tensor] : dict) tensor = tensor.detach();
  return dict;
}

}  // namespace mos::io
