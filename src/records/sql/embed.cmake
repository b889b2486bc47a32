# embed.cmake -- writes OUT, a C file with the migrations in FOLDER (NNN_name.sql) in their order.
# Run by the build: cmake -DFOLDER=… -DSYMBOL=sqlite -DOUT=… -P embed.cmake.  The bytes are written as numbers, so
# that no text needs escaping and no string literal grows too long for the compiler.
file(GLOB files ${FOLDER}/*.sql)
list(SORT files)
set(arrays "")
set(rows "")
foreach(file ${files})
  get_filename_component(name ${file} NAME)
  string(REGEX REPLACE "[^A-Za-z0-9]" "_" symbol "sql_${name}")
  file(READ ${file} bytes HEX)
  string(REGEX REPLACE "(................................)" "\\1\n    " bytes "${bytes}")
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
  string(APPEND arrays "static const unsigned char ${symbol}[] = {\n    ${bytes}0x00};\n")
  string(APPEND rows "    {\"${name}\", (const char *)${symbol}},\n")
endforeach()
file(WRITE ${OUT}
"/* Made by src/records/sql/embed.cmake: do not edit. */
#include \"records/${SYMBOL}.h\"

${arrays}
const struct ${SYMBOL}_migration ${SYMBOL}_migrations[] = {
${rows}};
const size_t ${SYMBOL}_migrations_count =
    sizeof ${SYMBOL}_migrations / sizeof ${SYMBOL}_migrations[0];
")
