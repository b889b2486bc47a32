# embed.cmake -- writes OUT, a C file with the scripts in FOLDER (NAME.lua).
# Run by the build: cmake -DFOLDER=… -DOUT=… -P embed.cmake.  The bytes are written as numbers, so that
# no text needs escaping and no string literal grows too long for the compiler.
file(GLOB files ${FOLDER}/*.lua)
list(SORT files)
set(arrays "")
set(rows "")
foreach(file ${files})
  get_filename_component(name ${file} NAME_WE)
  file(READ ${file} bytes HEX)
  string(REGEX REPLACE "(................................)" "\\1\n    " bytes "${bytes}")
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
  string(APPEND arrays "static const unsigned char lua_${name}[] = {\n    ${bytes}0x00};\n")
  string(APPEND rows "    {\"${name}\", (const char *)lua_${name}},\n")
endforeach()
file(WRITE ${OUT}
"/* Made by src/live/scripts/embed.cmake: do not edit. */
#include \"live/redis_scripts.h\"

${arrays}
const struct redis_script_file redis_script_files[] = {
${rows}    {NULL, NULL}};
")
