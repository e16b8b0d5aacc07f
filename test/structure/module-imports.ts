import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'

/** One import, export-from, `import()` or `require()` in a source file. */
export interface ModuleImport {
  /** The file that it stands in, from the project's root. */
  readonly file: string
  readonly line: number
  readonly text: string
  /** The file that it names, from the project's root, or a package's name. */
  readonly target: string
  /** Gone when compiled. */
  readonly typeOnly: boolean
}

/** Every import in the TypeScript files below a directory; the directory is given from the project's root. */
export function importsBelow(project: string, directory: string): ModuleImport[] {
  return readdirSync(join(project, directory), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .toSorted()
    .flatMap((name) => importsOf(join(directory, name), readFileSync(join(project, directory, name), 'utf8')))
}

export function importsOf(file: string, source: string): ModuleImport[] {
  const code = withoutComments(source)
  const lines = code.split('\n')
  return [...code.matchAll(IMPORT)].map((match) => {
    const specifier = match.groups?.['a'] ?? match.groups?.['b'] ?? match.groups?.['c'] ?? ''
    const line = code.slice(0, match.index + match[0].length).split('\n').length
    const text = lines[line - 1]?.trim() ?? ''
    const typeOnly = /^(?:import|export)\s+type\b/.test(match[0])
    return { file, line, text, target: targetOf(file, specifier), typeOnly }
  })
}

/** `… from 'x'`; `import 'x'`; a call with one string and nothing else, of `import`, `require` or what makes a `require`. */
const IMPORT =
  /\b(?:import|export)\b[^'"`]*?\bfrom\s*'(?<a>[^']+)'|\bimport\s*'(?<b>[^']+)'|(?:\bimport|\brequire|createRequire\([^()]*\))\s*\(\s*'(?<c>[^']+)'\s*\)/g

/** Comments become blanks, so that lines keep their numbers; strings stay. */
function withoutComments(source: string): string {
  return source.replaceAll(
    /'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`|\/\*[\s\S]*?\*\/|\/\/[^\n]*/g,
    (piece) => (piece.startsWith('/') ? piece.replaceAll(/[^\n]/g, ' ') : piece),
  )
}

function targetOf(file: string, specifier: string): string {
  if (!specifier.startsWith('.')) return specifier
  return relative('.', join(dirname(file), specifier)).replace(/\.js$/, '.ts')
}
