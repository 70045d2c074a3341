# Everything that compiles our sources agrees on these flags.
add_library(mos_flags INTERFACE)
target_include_directories(mos_flags INTERFACE ${PROJECT_SOURCE_DIR})
target_include_directories(mos_flags SYSTEM INTERFACE ${TORCH_INCLUDE_DIRS})
# The C++ library before LibTorch: that of PyTorch exports functions of std::filesystem that crash.
target_link_libraries(mos_flags INTERFACE stdc++ ${TORCH_LIBRARIES} OpenMP::OpenMP_CXX Threads::Threads
                                          nlohmann_json::nlohmann_json)
# PyTorch's LibTorch brings fmt's headers, which are found before all others, without a library. On
# Debian both are the system's.
find_file(MOS_TORCH_FMT fmt/core.h PATHS ${TORCH_INCLUDE_DIRS} NO_DEFAULT_PATH)
mark_as_advanced(MOS_TORCH_FMT)
get_target_property(fmt_folder fmt::fmt INTERFACE_INCLUDE_DIRECTORIES)
if(MOS_TORCH_FMT AND NOT "${MOS_TORCH_FMT}" STREQUAL "${fmt_folder}/fmt/core.h")
  target_compile_definitions(mos_flags INTERFACE FMT_HEADER_ONLY)
else()
  target_link_libraries(mos_flags INTERFACE fmt::fmt)
endif()
target_compile_options(mos_flags INTERFACE -Wall -Wextra -Wshadow -Wconversion
                                           -Wno-missing-field-initializers
                                           $<$<BOOL:${MOS_WERROR}>:-Werror>)
if(MOS_WERROR)  # false alarms: g++ 12 on its own AVX-512 header, g++ 14 on LibTorch's autograd one
  target_compile_options(mos_flags INTERFACE -Wno-error=maybe-uninitialized
                                             -Wno-error=array-bounds)
endif()
separate_arguments(torch_cxx_flags UNIX_COMMAND "${TORCH_CXX_FLAGS}")
target_compile_options(mos_flags INTERFACE ${torch_cxx_flags})
if(MOS_SANITIZE)  # the code of tests is not what is looked at, and takes half of the time to compile
  target_compile_options(
    mos_flags
    INTERFACE
      "$<$<NOT:$<BOOL:$<TARGET_PROPERTY:MOS_NOT_SANITIZED>>>:-fsanitize=address,undefined;-fno-sanitize=vptr;-fno-sanitize-recover=undefined>"
      -fno-omit-frame-pointer)
  target_link_options(mos_flags INTERFACE -fsanitize=address,undefined)
endif()

# mos_precompile(<name> [OPTION...]): the headers compiled with these options, half a gigabyte. g++ 14
# takes them only at the level of optimisation that they were compiled at.
function(mos_precompile name)
  if(MOS_PRECOMPILED_HEADERS)
    file(WRITE ${CMAKE_BINARY_DIR}/precompiled.cpp "")
    add_library(${name} OBJECT ${CMAKE_BINARY_DIR}/precompiled.cpp)
    target_link_libraries(${name} PRIVATE mos_flags)
    target_precompile_headers(${name} PRIVATE ${PROJECT_SOURCE_DIR}/cmake/precompiled.h)
    target_compile_options(${name} PRIVATE ${ARGN} -fpch-preprocess)  # lets ccache see through it
  endif()
endfunction()

# mos_use_precompiled(<target> <name>): all targets of the same options share one copy.
function(mos_use_precompiled target name)
  if(MOS_PRECOMPILED_HEADERS)
    target_precompile_headers(${target} REUSE_FROM ${name})
    target_compile_options(${target} PRIVATE -fpch-preprocess)
  endif()
endfunction()

# Tests and the command line have no hot loops: a quarter of their compile time is saved.
set(MOS_GLUE_OPTIONS $<$<NOT:$<CONFIG:Debug>>:-O1>)
mos_precompile(mos_precompiled)
mos_precompile(mos_precompiled_glue ${MOS_GLUE_OPTIONS})
if(TARGET mos_precompiled_glue)
  set_target_properties(mos_precompiled_glue PROPERTIES MOS_NOT_SANITIZED ON)
endif()
function(mos_glue target)
  target_compile_options(${target} PRIVATE ${MOS_GLUE_OPTIONS})
  set_target_properties(${target} PROPERTIES MOS_NOT_SANITIZED ON)
  mos_use_precompiled(${target} mos_precompiled_glue)
endfunction()

# mos_unity(<target>): several of its sources are one unit of compilation where MOS_UNITY says so, since
# most of the time goes into headers and templates that each of them needs. Sources with options of
# their own stay alone. Names in anonymous namespaces of one target must differ for it.
function(mos_unity target)
  if(MOS_UNITY)
    set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 8)
    # A class of a source with a member of an anonymous namespace is warned of where that source is
    # included, as it would be wrong in a header.
    target_compile_options(${target} PRIVATE -Wno-subobject-linkage)
  endif()
endfunction()

# mos_library(<folder> DEPENDS <lower folders> [LINK <libraries>]): the sources of this folder and of
# those inside it as the static library mos_<folder>.
function(mos_library folder)
  cmake_parse_arguments(ARG "" "" "DEPENDS;LINK" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cpp
       ${CMAKE_CURRENT_SOURCE_DIR}/*/*.cpp)
  if(sources)
    add_library(mos_${folder} STATIC ${sources})
    mos_use_precompiled(mos_${folder} mos_precompiled)
    mos_unity(mos_${folder})
    set(scope PUBLIC)
  else()
    add_library(mos_${folder} INTERFACE)
    set(scope INTERFACE)
  endif()
  target_link_libraries(mos_${folder} ${scope} mos_flags ${ARG_LINK})
  foreach(lower ${ARG_DEPENDS})
    target_link_libraries(mos_${folder} ${scope} mos_${lower})
  endforeach()
endfunction()
