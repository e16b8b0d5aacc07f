import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/**
 * A test file says in its first comment which tiers it belongs to: `@module-tag judge`. A file without a tag needs
 * nothing special, and takes seconds.
 */
export const TAGS = [
  { name: 'unit', description: 'Computes, and touches nothing but temporary files.' },
  { name: 'thorough', description: 'Takes minutes. `npm run test:all` runs it.' },
  { name: 'judge', description: 'Needs Docker or other programs as a judge. `npm run test:all` runs it.' },
  {
    name: 'every-identity',
    description: 'Depends on privileges. `npm run test:all` runs it with less of them, too.',
  },
  {
    name: 'device-mapper',
    description: 'Needs the device-mapper, or an older kernel. Runs in User-Mode Linux.',
  },
]

/**
 * @param {string} project
 * @returns {import("./tags.mjs").TestFile[]} all test files, with paths from the project's directory
 */
export function testFiles(project) {
  return readdirSync(join(project, 'test'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.test.ts'))
    .map((name) => join('test', name))
    .toSorted()
    .map((path) => ({ path, tags: tagsOf(readFileSync(join(project, path), 'utf8')) }))
}

/** @param {string} text */
function tagsOf(text) {
  return [...text.matchAll(/^ ?(?:\/\*)?\*.*@module-tag ([\w-]+)/gm)].map((match) => match[1] ?? '')
}

/**
 * @param {import("./tags.mjs").TestFile} file
 * @param {string[]} tags
 */
export function hasTag({ tags }, ...wanted) {
  return wanted.some((tag) => tags.includes(tag))
}
