import tseslint from "typescript-eslint";

/** Time, chance and exit are parameters; these are the files that own the real ones. */
const REAL = ["daemon/common/clock.ts", "daemon/cli/bin.ts"];

export default tseslint.config(
  { ignores: ["dist/", ".build/", "proto/gen/", "node_modules/", "mount/kernel/addon/build/", "*.config.js", "*.cjs"] },
  ...tseslint.configs.recommendedTypeChecked,
  {
    languageOptions: { parserOptions: { project: "./tsconfig.json" } },
    rules: {
      "@typescript-eslint/no-floating-promises": [
        "error",
        // The runner waits for these itself.
        {
          allowForKnownSafeCalls: [
            { from: "package", name: ["test", "default"], package: "@tapjs/test" },
            { from: "package", name: ["test"], package: "tap" },
            { from: "package", name: "test", package: "@tapjs/core" },
          ],
        },
      ],
      "@typescript-eslint/no-misused-promises": "error",
      "@typescript-eslint/switch-exhaustiveness-check": ["error", { considerDefaultExhaustiveForUnions: true }],
      "@typescript-eslint/consistent-type-imports": "error",
      "@typescript-eslint/no-explicit-any": "error",
      "@typescript-eslint/no-unused-vars": ["error", { argsIgnorePattern: "^_", varsIgnorePattern: "^_" }],
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true, allowBoolean: true }],
      "@typescript-eslint/no-unnecessary-type-assertion": "error",
      "@typescript-eslint/require-await": "off",
      "@typescript-eslint/only-throw-error": ["error", { allowThrowingUnknown: true }],
      "no-else-return": "error",
      "no-warning-comments": ["error", { terms: ["todo", "fixme", "xxx", "hack"] }],
      "max-lines": ["error", { max: 600 }],
    },
  },
  {
    files: ["daemon/**/*.ts", "mount/**/*.ts", "proto/**/*.ts"],
    ignores: REAL,
    rules: {
      "no-restricted-globals": [
        "error",
        { name: "setTimeout", message: "Take a Clock." },
        { name: "setInterval", message: "Take a Clock." },
      ],
      "no-restricted-properties": [
        "error",
        { object: "Date", property: "now", message: "Take a Clock." },
        { object: "Math", property: "random", message: "Chance is a parameter." },
        { object: "process", property: "exit", message: "Only cli/bin.ts exits." },
      ],
    },
  },
);
