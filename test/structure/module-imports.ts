import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'

/** One import, export-from, `import()` or `require()` in a source file. */
export interface ModuleImport {
  /** The importing file, relative to the project's root. */
  readonly file: string
  readonly line: number
  readonly text: string
  /** The imported file, relative to the project's root, or the name of a package. */
  readonly target: string
  /** Erased by the compiler. */
  readonly typeOnly: boolean
}

/** Every import in the TypeScript files below `directory`, which is relative to the project's root. */
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

/** `… from 'x'`, `import 'x'`, and calls of `import`, `require` or `createRequire(…)` with one string. */
const IMPORT =
  /\b(?:import|export)\b[^'"`]*?\bfrom\s*'(?<a>[^']+)'|\bimport\s*'(?<b>[^']+)'|(?:\bimport|\brequire|createRequire\([^()]*\))\s*\(\s*'(?<c>[^']+)'\s*\)/g

/** Replaces comments by blanks, so that line numbers stay the same. Strings stay. */
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
