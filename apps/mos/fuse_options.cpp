#include "fuse_options.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "mos/base/describe.h"
#include "mos/base/error.h"
#include "mos/base/json.h"
#include "mos/base/text.h"

namespace mos::app {
namespace {

/// `shown` is how the user wrote `option`.
void refuse_option_of_others(const std::string& option, const std::string& shown,
                             const std::string& method) {
  const auto takers = fuse::takers_of(option);
  if (takers.empty() || std::ranges::find(takers, method) != takers.end()) return;
  throw Error(ErrorKind::kUsage, fmt::format("{} is no option of the method {}, but of {}", shown,
                                             method, fmt::join(takers, ", ")));
}

/// The options of a file, whose method `method` overrules.
fuse::FuseOptions read_config(const std::filesystem::path& path,
                              const std::optional<std::string>& method) {
  fuse::FuseOptions options;
  auto config = read_json_file(path);
  if (config.is_object()) {
    if (method) config["method"] = *method;
    const auto named = config.find("method");
    if (named != config.end() && named->is_string()) options.method = *named;
    fuse::method_info(options.method);
    for (const auto& [key, value] : config.items()) {
      refuse_option_of_others(key, fmt::format("{}: \"{}\"", path.string(), key), options.method);
    }
  }
  read_options(config, path.string(), options);
  return options;
}

}  // namespace

fuse::FuseOptions take_fuse_options(Flags& flags,
                                    const std::optional<std::filesystem::path>& config) {
  fuse::FuseOptions options;
  const auto method = flags.take("method");
  if (config) options = read_config(*config, method);
  if (method) options.method = fuse::method_info(*method).name;
  for (const auto& option : fuse::special_options()) {
    const auto flag = detail::flag_name(option);
    if (flags.has(flag)) refuse_option_of_others(option, "--" + flag, options.method);
  }
  read_flags(flags, options);
  return options;
}

std::string fuse_options_help() {
  std::string text = fmt::format("  --{:<22} how to merge, see below [{}]\n", "method",
                                 fuse::FuseOptions().method);
  std::vector<std::string> recording;
  std::string methods = "\nmethods, each with its own options:\n";
  for (const auto& info : fuse::methods()) {
    const auto method = info.make();
    methods += fmt::format("  {:<24} {}\n", info.name, info.help);
    FlagHelp help;
    FieldVisitorOf own(help);
    method->describe(own);
    methods += replaced(help.text(), "  --", "      --");
    if (method->needs().inputs != fuse::Recorded::kNothing) recording.emplace_back(info.name);
  }
  text += fmt::format(
      "  --{:<22} numbers, one for each concept: shares (weight), factors on the\n"
      "    {:<22} updates, or how much their inputs count [all alike]\n",
      "weights", "");
  return text + methods +
         fmt::format("\nhow inputs are recorded, for {}:\n", fmt::join(recording, ", ")) +
         flag_help<fuse::RecordOptions>();
}

}  // namespace mos::app
