#pragma once

#include <concepts>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

/// Choices of options: an enum class with a table of the names that files and command lines have
/// for its values. The type declares the table beside itself, where argument-dependent lookup finds
/// it:
///
///     enum class Decay { kLinear, kNone };
///     constexpr auto choice_names(Decay) {
///       return std::to_array<Named<Decay>>({{"linear", Decay::kLinear}, {"none", Decay::kNone}});
///     }
namespace mos {

template <typename T>
struct Named {
  std::string_view name;
  T choice;
};

template <typename T>
concept Choice = std::is_enum_v<T> && requires(T value) {
  choice_names(value);
};

/// The names of all values, in the order of the table.
template <Choice T>
std::vector<std::string> names_of_choices() {
  std::vector<std::string> names;
  for (const auto& entry : choice_names(T{})) names.emplace_back(entry.name);
  return names;
}

/// Required: `value` is in the table.
template <Choice T>
std::string choice_name(T value) {
  for (const auto& entry : choice_names(value)) {
    if (entry.choice == value) return std::string(entry.name);
  }
  return {};
}

template <Choice T>
std::optional<T> choice_named(std::string_view name) {
  for (const auto& entry : choice_names(T{})) {
    if (entry.name == name) return entry.choice;
  }
  return std::nullopt;
}

/// A field of some choice type, by its names alone. Refers to the field.
struct ChoiceField {
  std::vector<std::string> names;
  std::function<std::string()> get;
  std::function<bool(std::string_view)> set;  ///< False, and nothing is set, for another name.
};

template <Choice T>
ChoiceField choice_field(T& field) {
  return {.names = names_of_choices<T>(),
          .get = [&field] { return choice_name(field); },
          .set =
              [&field](std::string_view name) {
                const auto value = choice_named<T>(name);
                if (value) field = *value;
                return value.has_value();
              }};
}

}  // namespace mos
