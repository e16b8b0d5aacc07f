import { readFileSync } from 'node:fs'
import { join } from 'node:path'

/** A TypeScript block of a Markdown page or an `@example`. */
export interface Snippet {
  /** File and line, such as `README.md:40`. */
  readonly location: string
  readonly code: string
}

const FENCE = /^```ts\n([\s\S]*?)^```$/gm
const EXAMPLE = /^ *\* ```ts\n([\s\S]*?)^ *\* ```$/gm

export function snippetsOf(project: string, file: string): Snippet[] {
  const text = readFileSync(join(project, file), 'utf8')
  const isCode = file.endsWith('.ts')
  return [...text.matchAll(isCode ? EXAMPLE : FENCE)].map(({ 1: block = '', index }) => ({
    location: `${file}:${text.slice(0, index).split('\n').length}`,
    code: isCode ? block.replaceAll(/^ *\* ?/gm, '') : block,
  }))
}
