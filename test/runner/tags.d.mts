export interface TestFile {
  /** From the project's directory. */
  readonly path: string
  readonly tags: readonly string[]
}

export const TAGS: { name: string; description: string }[]
export function testFiles(project: string): TestFile[]
export function hasTag(file: TestFile, ...wanted: string[]): boolean
