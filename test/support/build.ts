import { execFileSync } from 'node:child_process'
import { resolve } from 'node:path'
import type { TestProject } from 'vitest/node'

/**
 * Compiles the source before the tests, and again before each round of watch mode. Tests import the source itself.
 * Worker threads and programs that tests start run the compiled package.
 */
export default function setup(project: TestProject): void {
  // The runner compiles once for all identities.
  if (process.env['LAYERSTACK_TEST_BUILT'] !== undefined) return
  build()
  project.onTestsRerun(build)
}

function build(): void {
  execFileSync('npm', ['run', '--silent', 'build'], {
    cwd: resolve(import.meta.dirname, '../..'),
    stdio: 'inherit',
  })
}
