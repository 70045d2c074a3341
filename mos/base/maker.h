#pragma once

#include <string>

#include "mos/base/json.h"

/// Pictures that this program made but did not paint say so inside, so that they are known for
/// ours.
namespace mos {

/// The key that says which command made such a picture.
inline constexpr const char* kMakerKey = "made_by";

/// The record of one: the version, `maker` ("mos condition"), and what it was made with. It stands
/// in the PNG under kProgramKey, as records of paintings do.
std::string maker_record(const std::string& maker, Json details = Json::object());

}  // namespace mos
