# openapi_embed.cmake -- writes OUT, a C file with the text of FILE in which @VERSION@ is VERSION.
# Run by the build: cmake -DFILE=… -DVERSION=… -DOUT=… -P openapi_embed.cmake.  The bytes are written
# as numbers, as sql/embed.cmake does.
cmake_minimum_required(VERSION 3.25) # else "@VERSION@" below would be taken for the variable
file(READ ${FILE} text)
string(REPLACE "@VERSION@" "${VERSION}" text "${text}")
string(HEX "${text}" bytes)
string(REGEX REPLACE "(................................)" "\\1\n    " bytes "${bytes}")
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
file(WRITE ${OUT}
"/* Made by src/api/openapi_embed.cmake: do not edit. */
#include \"api/openapi.h\"

static const unsigned char text[] = {
    ${bytes}0x00};
const char *const openapi_text = (const char *)text;
const size_t openapi_text_bytes = sizeof text - 1;
")
